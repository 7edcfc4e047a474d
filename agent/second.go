package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// secondDir is the folder of the journal of IPv4 addresses, in the state folder.
const secondDir = "journal-ipv4"

// An IPv4 range of a host has 254 addresses where an IPv6 prefix has enough for ever, so they are used again: the one that rested
// longest first, and none that rested less than this.
const secondRest = ipam.Seconds(30)

// second is the book of the IPv4 addresses of a dual-stack host. A host without an IPv4 prefix has none of it.
//
// It is a book like the other: an IPv4 address is written down as RFC 6052 section 2.2 writes it into 64:ff9b::/96.
type second struct {
	book *allocation.Book
}

// pref64 is the well-known prefix of RFC 6052. Nothing is sent to it here: it is how the book writes IPv4 down.
func pref64() [12]byte { return [12]byte{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b} }

func embed(a netip.Addr) netip.Addr {
	p, v4 := pref64(), a.As4()
	return netip.AddrFrom16([16]byte(append(p[:], v4[:]...)))
}

func extract(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// openSecond opens the book of IPv4 addresses if the host has a prefix for them, or had one.
func (a *Agent) openSecond(closing *closers) error {
	prefix := a.config.Load().desired.Self.IPv4
	path := filepath.Join(a.options.StateDir, secondDir)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !prefix.IsValid() {
		return nil
	}
	dir, err := journal.MakeDir(path)
	if err != nil {
		return err
	}
	ids, err := readIDs(os.DirFS("/"))
	if err != nil {
		return err
	}
	found, err := a.foundAddrs4()
	if err != nil {
		return err
	}
	layout, err := layout4(prefix)
	if err != nil {
		return err
	}
	book, err := allocation.Open(allocation.Options{
		Host: a.options.Host, Layout: layout, FS: dir, Clock: allocation.SystemClock{}, IDs: ids, Facts: a.clockFacts, Found: found,
		Built: ipam.FromUnix(a.options.Built.Unix()), Seed: rand.Uint64(), MinRest: secondRest,
		Event: func(e allocation.Event) {
			a.log.Warn("book of IPv4 addresses", "why", string(e.Why), "detail", e.Detail)
		},
		Keep: a.keepJournal,
	})
	if err != nil {
		return err
	}
	a.second.book = book
	closing.add(book)
	return nil
}

// layout4 is how the addresses of an IPv4 prefix are written down; of none, the zero Layout.
func layout4(p netip.Prefix) (ipam.Layout, error) {
	if !p.IsValid() {
		return ipam.Layout{}, nil
	}
	l, err := ipam.NewLayout(netip.PrefixFrom(embed(p.Addr()), 96+p.Bits()), nil)
	if err != nil {
		return l, fmt.Errorf("IPv4 prefix %s of this host: %w", p, err)
	}
	return l, nil
}

// Use makes p the prefix of new IPv4 addresses.
func (s *second) Use(p netip.Prefix) error {
	if s.book == nil {
		return nil // it is opened at the next start
	}
	l, err := layout4(p)
	if err != nil {
		return err
	}
	return s.book.Use(l)
}

// Run keeps the journal until ctx ends.
func (s *second) Run(ctx context.Context) error {
	if s.book == nil {
		return nil
	}
	return s.book.Run(ctx)
}

// Allocate gives an endpoint its IPv4 address, the same for the same key. On a host without IPv4 it is invalid.
func (s *second) Allocate(ctx context.Context, o allocation.Owner) (netip.Addr, error) {
	if s.book == nil || !s.book.State().Prefix.IsValid() {
		return netip.Addr{}, nil
	}
	given, err := s.book.Allocate(ctx, allocation.Request{Owner: o})
	if err != nil {
		return netip.Addr{}, err
	}
	return extract(given.Addr), nil
}

// Retire ends the life of an endpoint's IPv4 address. A missing one is no error.
func (s *second) Retire(ctx context.Context, k desired.EndpointKey) error {
	if s.book == nil {
		return nil
	}
	return s.book.Retire(ctx, k)
}

// get returns the IPv4 address of an endpoint.
func (s *second) get(k desired.EndpointKey) (netip.Addr, bool) {
	if s.book == nil {
		return netip.Addr{}, false
	}
	given, ok := s.book.Get(k)
	return extract(given.Addr), ok
}

// endpointOf is the endpoint of an allocation, with its IPv4 address and with what is known of its pod.
func (a *Agent) endpointOf(given allocation.Allocation) desired.Endpoint {
	e := endpointOf(given)
	if pod, ok := a.podNow(e); ok {
		e.Bandwidth = pod.Bandwidth
		if n := a.config.Load().identityOf(pod.Namespace, pod.Labels); n != 0 { // it was relabelled since
			e.Identity = n
		}
	}
	if addr, ok := a.second.get(e.Key); ok {
		e.Addrs = append(e.Addrs, addr)
	}
	return e
}

// foundAddrs4 lists the IPv4 addresses of endpoints that the kernel holds, as the book writes them.
func (a *Agent) foundAddrs4() ([]netip.Addr, error) {
	routes, err := a.kernel.HeldRoutes()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for dst := range routes {
		if dst.IsSingleIP() && dst.Addr().Is4() {
			found = append(found, embed(dst.Addr()))
		}
	}
	return found, nil
}
