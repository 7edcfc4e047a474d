package ndp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// groups are the multicast groups that a host has joined on one link for its addresses. The kernel reports them to the switches
// and answers their queriers (RFC 3810); a snooping switch would not hand on a solicitation otherwise.
type groups struct {
	ns      *netns.NS
	index   int
	sockets []*groupSocket // the kernel limits what one socket may join (net.core.optmem_max); the last one has room
	held    map[netip.Addr]*membership
}

type groupSocket struct{ fd, joined int }

type membership struct {
	socket *groupSocket
	users  int
}

func newGroups(ns *netns.NS, index int) *groups {
	return &groups{ns: ns, index: index, held: map[netip.Addr]*membership{}}
}

// join counts one more user of a group and joins it for the first.
func (g *groups) join(group netip.Addr) error {
	if m := g.held[group]; m != nil {
		m.users++
		return nil
	}
	s, err := g.add(group)
	if err != nil {
		return fmt.Errorf("join multicast group %s: %w", group, err)
	}
	s.joined++
	g.held[group] = &membership{socket: s, users: 1}
	return nil
}

// add joins on the last socket, or on a new one when that is full.
func (g *groups) add(group netip.Addr) (*groupSocket, error) {
	if len(g.sockets) > 0 {
		last := g.sockets[len(g.sockets)-1]
		if err := g.set(last.fd, unix.IPV6_JOIN_GROUP, group); !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENOMEM) {
			return last, err
		}
	}
	s := &groupSocket{}
	err := inside(g.ns, func() (err error) {
		s.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := g.set(s.fd, unix.IPV6_JOIN_GROUP, group); err != nil {
		return nil, errors.Join(err, unix.Close(s.fd))
	}
	g.sockets = append(g.sockets, s)
	return s, nil
}

// leave counts one user less and leaves the group after the last.
func (g *groups) leave(group netip.Addr) {
	m := g.held[group]
	if m == nil {
		return
	}
	if m.users--; m.users > 0 {
		return
	}
	delete(g.held, group)
	_ = g.set(m.socket.fd, unix.IPV6_LEAVE_GROUP, group) // fails only when the link is gone, and the membership with it
	if m.socket.joined--; m.socket.joined == 0 {
		g.sockets = slices.DeleteFunc(g.sockets, func(s *groupSocket) bool { return s == m.socket })
		_ = unix.Close(m.socket.fd)
	}
}

func (g *groups) set(fd, option int, group netip.Addr) error {
	return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.index)})
}

// Close leaves all groups.
func (g *groups) Close() error {
	var errs []error
	for _, s := range g.sockets {
		errs = append(errs, unix.Close(s.fd))
	}
	g.sockets, g.held = nil, map[netip.Addr]*membership{}
	return errors.Join(errs...)
}
