// Package redirect notices when a network namespace leads its own traffic elsewhere by nftables or iptables, as sidecar proxies do.
//
// nftables tell of every change (NFNLGRP_NFTABLES); tables of the older iptables tell nobody and are looked at when asked.
package redirect

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// Watch follows the rules of one namespace. Whoever holds one keeps the namespace alive.
type Watch struct {
	ns     *netns.NS
	opened time.Time
	news   *os.File // a netlink socket inside the namespace
	stale  atomic.Bool
	found  bool      // what the last look at nftables found
	older  bool      // what the last look at iptables found
	looked time.Time // at iptables
}

// Open begins to watch the namespace at path.
func Open(path string) (*Watch, error) {
	ns, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	w := &Watch{ns: ns, opened: time.Now()}
	w.stale.Store(true)
	if w.news, err = rtnl.NFTablesNews(ns); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the rules of %s: %w", path, err), ns.Close())
	}
	return w, nil
}

// Close ends the watch, and Run with it.
func (w *Watch) Close() error { return errors.Join(w.news.Close(), w.ns.Close()) }

// pause is the least time between two calls of changed: a namespace whose rules change all the time costs no more than ten looks a
// second.
const pause = 100 * time.Millisecond

// Run calls changed after rules have changed, until ctx ends or the watch is closed.
func (w *Watch) Run(ctx context.Context, changed func()) {
	var buf [16]byte // a message is cut off there: that it came is all that counts
	for {
		_, err := w.news.Read(buf[:])
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // news were lost: there were some
			return
		}
		w.stale.Store(true)
		changed()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// olderPause is the least time between two looks at tables of the older iptables, which tell nobody of a change. A proxy makes its rules
// when it starts, so a namespace that has been watched for long is looked at rarely.
func (w *Watch) olderPause() time.Duration {
	return min(max(time.Since(w.opened)/2, 5*time.Second), time.Minute)
}

// Look tells whether the namespace leads its own traffic elsewhere. nftables are read only if they told of a change, iptables only after
// a pause: whoever watches many namespaces may look at all of them whenever one has changed.
func (w *Watch) Look() (bool, error) {
	if w.stale.Swap(false) {
		found, err := nftablesRedirect(w.ns)
		if err != nil {
			w.stale.Store(true)
			return w.found || w.older, fmt.Errorf("read the rules of %s: %w", w.ns, err)
		}
		w.found = found
	}
	if time.Since(w.looked) < w.olderPause() || !iptablesKnown() {
		return w.found || w.older, nil
	}
	err := w.ns.Do(func() (err error) {
		w.older, err = iptablesRedirect()
		return err
	})
	if err != nil {
		return w.found || w.older, fmt.Errorf("read the tables of iptables of %s: %w", w.ns, err)
	}
	w.looked = time.Now()
	return w.found || w.older, nil
}

// Attributes of nftables (linux/netfilter/nf_tables.h).
const (
	ruleExpressions = 4
	expressionName  = 1
	expressionData  = 2
	natType         = 1 // 0: source, 1: destination
	targetName      = 1
)

// nftablesRedirect tells whether a rule of the namespace leads traffic elsewhere.
func nftablesRedirect(ns *netns.NS) (found bool, err error) {
	c, err := rtnl.DialNFTables(ns)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	err = c.Rules(func(rule []byte) error {
		found = found || leads(rule)
		return nil
	})
	return found, err
}

func align(n int) int { return (n + 3) &^ 3 }

// attributes calls f for each attribute of b. What is cut off is left out.
func attributes(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[4:n])
		b = b[min(align(n), len(b)):]
	}
}

// leads tells whether one of the expressions of a rule sends packets elsewhere.
func leads(rule []byte) (found bool) {
	attributes(rule, func(kind uint16, list []byte) {
		if kind != ruleExpressions {
			return
		}
		attributes(list, func(_ uint16, expression []byte) {
			var name string
			var data []byte
			attributes(expression, func(kind uint16, v []byte) {
				switch kind {
				case expressionName:
					name = text(v)
				case expressionData:
					data = v
				}
			})
			found = found || elsewhere(name, data)
		})
	})
	return found
}

// elsewhere tells of expressions that change where a packet goes, also of those that iptables writes through nftables ("target").
func elsewhere(name string, data []byte) (found bool) {
	switch name {
	case "redir", "tproxy":
		return true
	case "nat":
		attributes(data, func(kind uint16, v []byte) {
			found = found || kind == natType && len(v) == 4 && binary.BigEndian.Uint32(v) == 1
		})
	case "target":
		attributes(data, func(kind uint16, v []byte) { found = found || kind == targetName && isTarget(text(v)) })
	}
	return found
}

func isTarget(name string) bool { return name == "REDIRECT" || name == "DNAT" || name == "TPROXY" }

// text is a string as the kernel has it, with a zero at its end.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
