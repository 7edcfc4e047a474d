package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// Group is something the kernel tells about (RTNLGRP_*).
type Group int

// What can be subscribed to.
const (
	Links      Group = unix.RTNLGRP_LINK
	Neighbours Group = unix.RTNLGRP_NEIGH
	Addresses  Group = unix.RTNLGRP_IPV6_IFADDR
	Addresses4 Group = unix.RTNLGRP_IPV4_IFADDR
	Routes     Group = unix.RTNLGRP_IPV6_ROUTE   // those of the local table left out
	Routes4    Group = unix.RTNLGRP_IPV4_ROUTE   // likewise
	Settings   Group = unix.RTNLGRP_IPV6_NETCONF // forwarding and its kin of net.ipv6.conf
	Filters    Group = unix.RTNLGRP_TC           // qdiscs and filters
)

// Event is one change. Exactly one of the pointers is set, or Resync.
type Event struct {
	Resync  bool // events were lost: look at everything again
	Gone    bool // the thing was removed, else it is new or changed
	Link    *Link
	Addr    *Addr
	Route   *Route
	Neigh   *Neigh
	Setting *Setting
	Traffic *Traffic
}

// Setting is a change of net.ipv6.conf.<link>.forwarding.
type Setting struct {
	Index      int // of the link; AllLinks and DefaultLink stand for conf.all and conf.default
	Forwarding int // -1 when the change is about something else
}

// Indices in a Setting that are no links (linux/netconf.h).
const (
	AllLinks    = -1
	DefaultLink = -2
)

// netconf attributes (linux/netconf.h, NETCONFA_*).
const (
	netconfIndex      = 1
	netconfForwarding = 2
)

// Subscription receives events of one namespace.
type Subscription struct {
	file    *os.File
	raw     syscall.RawConn
	buf     []byte
	ignored []uint32 // ports of senders, as a filter reads them
}

// Subscribe begins to collect events; what happened before is not told. Subscribe first, then list, and nothing is missed.
func Subscribe(ns *netns.NS, groups ...Group) (*Subscription, error) {
	s := &Subscription{}
	if err := inside(ns, func() error { return s.open(groups) }); err != nil {
		return nil, fmt.Errorf("subscribe to changes of the network: %w", err)
	}
	return s, nil
}

// open makes the socket in the namespace of the calling thread.
func (s *Subscription) open(groups []Group) error {
	fd, err := socket(unix.NETLINK_ROUTE, unix.SOCK_NONBLOCK)
	if err != nil {
		return err
	}
	s.file, s.buf = os.NewFile(uintptr(fd), "netlink"), make([]byte, 64<<10)
	if err := s.filter(fd); err != nil {
		return errors.Join(fmt.Errorf("filter the changes of the network: %w", err), s.Close())
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g)); err != nil {
			return errors.Join(fmt.Errorf("netlink group %d: %w", g, err), s.Close())
		}
	}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// Close ends the subscription; a waiting Receive returns os.ErrClosed.
func (s *Subscription) Close() error { return s.file.Close() }

// Receive waits for the next events, one or more. When the kernel had to drop some (ENOBUFS), it returns an Event with
// Resync. It ends with the error of ctx.
func (s *Subscription) Receive(ctx context.Context) ([]Event, error) {
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := s.read()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return []Event{{Resync: true}}, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("wait for changes of the network: %w", err)
		}
		events, err := parseEvents(b)
		if err != nil || len(events) > 0 {
			return events, err
		}
	}
}

func (s *Subscription) read() ([]byte, error) {
	var n int
	var err error
	waited := s.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		return !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case waited != nil:
		return nil, waited
	case err != nil:
		return nil, err
	case n > len(s.buf):
		return nil, unix.ENOBUFS // cut off: as good as lost
	}
	return s.buf[:n], nil
}

func parseEvents(b []byte) ([]Event, error) {
	var events []Event
	for len(b) > 0 {
		var m Message
		var err error
		if m, b, err = split(b); err != nil {
			return events, err
		}
		e, ok, err := parseEvent(m)
		if err != nil {
			return events, err
		}
		if ok {
			events = append(events, e)
		}
	}
	return events, nil
}

func parseEvent(m Message) (e Event, ok bool, err error) {
	switch m.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, err := ParseLink(m)
		return Event{Gone: m.Type == unix.RTM_DELLINK, Link: &l}, true, err
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, err := ParseAddr(m)
		return Event{Gone: m.Type == unix.RTM_DELADDR, Addr: &a}, true, err
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, err := ParseRoute(m)
		return Event{Gone: m.Type == unix.RTM_DELROUTE, Route: &r}, true, err
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		n, err := ParseNeigh(m)
		return Event{Gone: m.Type == unix.RTM_DELNEIGH, Neigh: &n}, true, err
	case unix.RTM_NEWNETCONF, unix.RTM_DELNETCONF:
		s, err := parseSetting(m)
		return Event{Gone: m.Type == unix.RTM_DELNETCONF, Setting: &s}, true, err
	case unix.RTM_DELQDISC, unix.RTM_DELTFILTER, unix.RTM_NEWTFILTER: // every link begins with a new qdisc: no news
		t, err := parseTraffic(m)
		return Event{Gone: m.Type != unix.RTM_NEWTFILTER, Traffic: &t}, true, err
	}
	return Event{}, false, nil
}

func parseSetting(m Message) (Setting, error) {
	const netconfmsg = 4 // struct netconfmsg is one byte, padded
	_, attrs, err := header(m, netconfmsg, "settings")
	s := Setting{Forwarding: -1}
	for typ, v := range Attrs(attrs) {
		if len(v) < 4 {
			continue
		}
		switch typ {
		case netconfIndex:
			s.Index = int(int32(binary.NativeEndian.Uint32(v)))
		case netconfForwarding:
			s.Forwarding = int(int32(binary.NativeEndian.Uint32(v)))
		}
	}
	return s, err
}
