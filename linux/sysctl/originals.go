package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Originals is a file that keeps what settings were before they were changed for the first time, so that a host can be put back.
type Originals string

// note keeps the value of a setting, unless one is kept already.
func (o Originals) note(key Key, value string) error {
	if o == "" {
		return nil
	}
	known, err := o.read()
	if err != nil {
		return err
	}
	if _, ok := known[key]; ok {
		return nil
	}
	known[key] = value
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	draft := string(o) + ".draft"
	err = os.WriteFile(draft, append(data, '\n'), 0o600)
	if err == nil { // half a draft must not take the place of what is known
		err = os.Rename(draft, string(o))
	}
	if err != nil {
		return fmt.Errorf("keep what %s was: %w", key, err)
	}
	return nil
}

func (o Originals) read() (map[Key]string, error) {
	known := map[Key]string{}
	data, err := os.ReadFile(string(o))
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil {
		return nil, fmt.Errorf("read what settings were: %w", err)
	}
	return known, nil
}

// Restore puts every setting back to what it was, forgets that, and returns those it changed. The forwarding of all links comes
// first: it changes that of each. The setting of a link that is gone is passed over.
func (o Originals) Restore(t *Table) (done []Key, err error) {
	known, err := o.read()
	if err != nil {
		return nil, err
	}
	keys := slices.Sorted(maps.Keys(known))
	all := IPv6("all", "forwarding")
	slices.SortStableFunc(keys, func(a, b Key) int {
		switch {
		case a == all && b != all:
			return -1
		case b == all && a != all:
			return 1
		}
		return 0
	})
	var errs []error
	for _, key := range keys {
		changed := false
		err := t.do(func() (err error) { changed, err = t.set(key, known[key]); return err })
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errs = append(errs, err); changed {
			done = append(done, key)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return done, err
	}
	if err := os.Remove(string(o)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return done, err
	}
	return done, nil
}
