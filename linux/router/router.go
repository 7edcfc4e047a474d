// Package router watches the default routes a host has from router advertisements, and asks for them again when they vanish.
//
// A host that forwards asks for nothing by itself after its links came up: when its route is gone, because somebody switched
// advertisements off for a moment or because they were lost too often, it waits for the next one, half an hour in the worst
// case (RFC 4861 6.2.1, MaxRtrAdvInterval). A Router Solicitation is answered within half a second (RFC 4861 6.2.6).
package router

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// Lost is why an uplink that had a default route from an advertisement has none.
const Lost desired.Why = "its default route from a router advertisement has gone; the routers on the link are asked for a new one"

// Default is one default route from an advertisement.
type Default struct {
	Via     netip.Addr    // the router
	Expires time.Duration // how long it still lives; 0: for ever
}

// Link is what is known of one uplink.
type Link struct {
	Name   string
	Routes []Default // the one that lives longest first
	Lost   bool      // it had one and has none
	Asked  int       // solicitations since it is lost
}

// Watch watches the default routes of one namespace.
type Watch struct {
	ns   *netns.NS
	conn *rtnl.Conn
	hush func(*rtnl.Subscription) error // may be nil

	mu    sync.Mutex // guards all following fields
	links map[string]*asking
	asked int
	kick  chan struct{} // something to look at besides what the kernel tells
}

// Open opens the watch of ns; nil is the namespace of the process. ns stays the caller's and open as long as the Watch.
func Open(ns *netns.NS) (*Watch, error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return nil, fmt.Errorf("open the watch of default routes: %w", err)
	}
	return &Watch{ns: ns, conn: conn, links: map[string]*asking{}, kick: make(chan struct{}, 1)}, nil
}

// Close closes the watch.
func (w *Watch) Close() error { return w.conn.Close() }

// Care says which uplinks are looked after from now on. A route that is there now and gone later is lost. Of uplinks in deaf it is
// known that they lost theirs before anybody watched.
func (w *Watch) Care(uplinks, deaf []string) error {
	have, _, err := w.defaults()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.links {
		if !slices.Contains(uplinks, name) {
			delete(w.links, name)
		}
	}
	news := len(deaf) > 0
	for _, name := range uplinks {
		if w.links[name] == nil {
			w.links[name] = &asking{had: len(have[name]) > 0}
			news = true
		}
	}
	for _, name := range deaf {
		if a := w.links[name]; a != nil {
			a.had = true
		}
	}
	if news {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
	return nil
}

// Hush lets quiet leave out of what the watch hears the changes of somebody who makes no routes from advertisements, and very many
// others. It is called before Run.
func (w *Watch) Hush(quiet func(*rtnl.Subscription) error) { w.hush = quiet }

// Run looks at the routes whenever one from an advertisement comes or goes, and asks where one was lost, until ctx ends. tell is
// called when a link loses its route, gets one again, or cannot be asked.
func (w *Watch) Run(ctx context.Context, tell func(Link, error)) error {
	events, err := rtnl.Subscribe(w.ns, rtnl.Routes)
	if err != nil {
		return err
	}
	defer events.Close()
	if w.hush != nil {
		if err := w.hush(events); err != nil {
			return err
		}
	}
	for {
		again, err := w.look(time.Now(), tell)
		if err != nil {
			return err
		}
		if err := w.await(ctx, events, again); err != nil {
			return nil // ctx has ended, or the subscription with it
		}
	}
}

// await returns when a route from an advertisement changed, when it is time to ask again, or when Care has news.
func (w *Watch) await(ctx context.Context, events *rtnl.Subscription, again time.Duration) error {
	timed, cancel := context.WithTimeout(ctx, again)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-w.kick:
			cancel()
		case <-ended:
		}
	}()
	for {
		list, err := events.Receive(timed)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case timed.Err() != nil:
			return nil
		case err != nil:
			return err
		case slices.ContainsFunc(list, func(e rtnl.Event) bool { return e.Resync || e.Route != nil && isDefault(*e.Route) }):
			return nil
		}
	}
}

func isDefault(r rtnl.Route) bool {
	return r.Protocol == unix.RTPROT_RA && r.Dst.Bits() == 0 && r.Table == unix.RT_TABLE_MAIN
}

// look compares the routes with what was, asks where it is due, and returns how long nothing has to be done.
func (w *Watch) look(now time.Time, tell func(Link, error)) (again time.Duration, err error) {
	have, indices, err := w.defaults()
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	again = time.Hour
	for name, a := range w.links {
		before := a.lost()
		a.routes = have[name]
		send := a.step(now, indices[name] != 0 && len(a.routes) > 0, rand.Float64())
		var failed error
		if send && indices[name] != 0 {
			failed = Solicit(w.ns, indices[name])
			w.asked++
		}
		if before != a.lost() || failed != nil {
			tell(a.link(name), failed)
		}
		if a.lost() {
			again = min(again, max(time.Millisecond, a.next.Sub(now)))
		}
	}
	return again, nil
}

// defaults lists the default routes from advertisements by link, and the indices of all links by name.
func (w *Watch) defaults() (map[string][]Default, map[string]int, error) {
	links, err := w.conn.Links()
	if err != nil {
		return nil, nil, err
	}
	routes, err := w.conn.Routes(unix.RT_TABLE_MAIN, unix.RTPROT_RA)
	if err != nil {
		return nil, nil, err
	}
	have, indices := map[string][]Default{}, map[string]int{}
	for _, l := range links {
		indices[l.Name] = l.Index
		for _, r := range routes {
			if r.Index == l.Index && isDefault(r) && r.Expires >= 0 {
				have[l.Name] = append(have[l.Name], Default{r.Via, r.Expires})
			}
		}
	}
	return have, indices, nil
}

// Links returns what is known of each uplink that is looked after, by name, with the routes as they are now.
func (w *Watch) Links() ([]Link, error) {
	have, _, err := w.defaults()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Link
	for name, a := range w.links {
		l := a.link(name)
		l.Routes = have[name]
		slices.SortFunc(l.Routes, func(x, y Default) int { return int(y.Expires - x.Expires) })
		list = append(list, l)
	}
	slices.SortFunc(list, func(x, y Link) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

// Asked returns how many solicitations were sent.
func (w *Watch) Asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// Solicit sends a Router Solicitation (RFC 4861 4.1) to all routers on a link.
func Solicit(ns *netns.NS, index int) error {
	send := func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const hopLimit = 255 // RFC 4861 6.1.1: anything less was forwarded and is not believed
		const solicitation = 133
		routers := &unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 2, 15: 2}, ZoneId: uint32(index)} // ff02::2
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hopLimit),
			unix.Sendto(fd, []byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, 0, routers), // the kernel fills the checksum in
		)
	}
	err := send
	if ns != nil {
		err = func() error { return ns.Do(send) }
	}
	if err := err(); err != nil {
		return fmt.Errorf("ask the routers on link #%d for an advertisement: %w", index, err)
	}
	return nil
}
