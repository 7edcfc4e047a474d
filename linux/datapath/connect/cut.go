package connect

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// Cut ends the datagram sockets of a namespace (nil: that of the process) that were led to a backend that is gone and are connected
// to it, and returns how many. Sockets that went there on their own stay.
func (h *Hooks) Cut(ns *netns.NS, gone []netip.AddrPort) (n int, err error) {
	c, err := rtnl.DialDiag(ns)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	dead := make(map[netip.AddrPort]bool, len(gone))
	for _, b := range gone {
		dead[b] = true
	}
	var ends []*rtnl.Request
	for _, family := range []uint8{unix.AF_INET6, unix.AF_INET} {
		list, err := c.ConnectedUDP(family)
		if err != nil {
			return 0, fmt.Errorf("look for sockets that talk to backends that are gone: %w", err)
		}
		for _, s := range list {
			at := netip.AddrPortFrom(s.Remote.Addr().Unmap(), s.Remote.Port())
			if !dead[at] {
				continue
			}
			if _, led := h.Correspondent(s.Cookie, at); led {
				ends = append(ends, rtnl.DestroyUDP(s))
			}
		}
	}
	return len(ends), c.Do(ends...)
}
