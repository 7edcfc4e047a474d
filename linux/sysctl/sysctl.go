// Package sysctl reads and sets the kernel's network settings of one namespace, and keeps what a host needs among them.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/linux/netns"
	"hexapod.dev/model/diff"
)

// Key is the path of a setting under /proc/sys, with slashes: net/ipv6/conf/eth0.100/accept_ra. The form with dots that
// sysctl(8) also takes cannot tell the dot of a link's name from its own.
type Key string

// IPv6 is the key of a setting of one link; "all" and "default" are the kernel's two links that are none.
func IPv6(link, setting string) Key { return Key("net/ipv6/conf/" + link + "/" + setting) }

// valid refuses keys that leave the part of /proc/sys that belongs to a network namespace.
func (k Key) valid() bool {
	return strings.HasPrefix(string(k), "net/") && filepath.Clean(string(k)) == string(k)
}

// Table is the settings of one namespace.
type Table struct {
	ns   *netns.NS
	root string // where the kernel shows its settings
	was  Originals
}

// Open opens the settings of ns; nil is the namespace of the process. ns stays the caller's.
func Open(ns *netns.NS) *Table { return &Table{ns: ns, root: "/proc/sys"} }

// do runs f where /proc/sys/net shows the namespace of the table: the kernel shows that of the thread that opens a file.
func (t *Table) do(f func() error) error {
	if t.ns == nil {
		return f()
	}
	return t.ns.Do(f)
}

// Read returns a setting without its line end. A setting that does not exist (the link is gone) is fs.ErrNotExist.
func (t *Table) Read(key Key) (value string, err error) {
	err = t.do(func() error { value, err = t.read(key); return err })
	return value, err
}

// Write sets a setting; a setting that is so already is not written, for a write has effects of its own.
func (t *Table) Write(key Key, value string) error {
	return t.do(func() error { _, err := t.set(key, value); return err })
}

func (t *Table) path(k Key) string { return filepath.Join(t.root, string(k)) }

func (t *Table) read(key Key) (string, error) {
	if !key.valid() {
		return "", fmt.Errorf("setting %s: not a setting of a network namespace", key)
	}
	b, err := os.ReadFile(t.path(key))
	if err != nil {
		return "", fmt.Errorf("read setting %s: %w", key, cause(err))
	}
	return strings.Join(strings.Fields(string(b)), " "), nil
}

// set makes a setting equal to value and tells whether it had to.
func (t *Table) set(key Key, value string) (changed bool, err error) {
	have, err := t.read(key)
	if err != nil || have == value {
		return false, err
	}
	if err := t.was.note(key, have); err != nil {
		return false, err
	}
	if err := os.WriteFile(t.path(key), []byte(value), 0o644); err != nil {
		return false, fmt.Errorf("set %s to %s (it is %s): %w", key, value, have, cause(err))
	}
	return true, nil
}

// cause drops the path from an error whose message names the setting already.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Reconcile makes all settings as wanted and returns those it changed. A failure does not keep it from the others.
func (t *Table) Reconcile(want map[Key]string) (delta diff.Delta[Key], err error) {
	err = t.do(func() error {
		have := make(map[Key]string, len(want))
		var errs []error
		for key := range want {
			value, err := t.read(key)
			errs = append(errs, err)
			if err == nil {
				have[key] = value
			}
		}
		for _, key := range diff.For(want, have, func(w, h string) bool { return w == h }).Change {
			changed, err := t.set(key, want[key])
			errs = append(errs, err)
			if changed {
				delta.Change = append(delta.Change, key)
			}
		}
		return errors.Join(errs...)
	})
	return delta, err
}
