package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/lab/place"
	"hexapod.dev/lab/topology"
)

// sysctls of every machine before it has links. Link-local addresses are given by the lab, so none is made by the kernel; and
// the limit on ICMPv6 errors (RFC 4443 2.4 f) is off, because a lab traces every path at once.
var sysctls = [][2]string{
	{"net/ipv6/conf/default/addr_gen_mode", "1"},
	{"net/ipv6/conf/default/accept_ra", "0"},
	{"net/ipv6/icmp/ratelimit", "0"},
}

// prepare sets the sysctls of a machine; a router also forwards. Hosts are left to their agent.
func prepare(p place.Place, router bool) error {
	return p.Do(func() error {
		set := sysctls
		if router {
			set = append(set[:len(set):len(set)], [2]string{"net/ipv6/conf/all/forwarding", "1"},
				[2]string{"net/ipv6/fib_multipath_hash_policy", "1"}) // two cables are shared by flow, not by pair of hosts
		}
		for _, kv := range set {
			if err := os.WriteFile(filepath.Join("/proc/sys", kv[0]), []byte(kv[1]), 0); err != nil {
				return fmt.Errorf("machine %s: set %s: %w", p.Name, strings.ReplaceAll(kv[0], "/", "."), err)
			}
		}
		return nil
	})
}

// connect makes one cable between two machines, with an address on each end.
func connect(places map[string]place.Place, l topology.Link) error {
	pid, err := places[l.Below.Machine].Holder()
	if err != nil {
		return err
	}
	peer, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("cable %s to %s: %w", l.Above.Machine, l.Below.Machine, err)
	}
	defer peer.Close()
	err = errors.Join(
		inside(places[l.Above.Machine], func(k kernel) error {
			if err := k.veth(l.Above.Link, l.Below.Link, int(peer.Fd())); err != nil {
				return err
			}
			return k.up(l.Above.Link, l.Above.Addr)
		}),
		inside(places[l.Below.Machine], func(k kernel) error { return k.up(l.Below.Link, l.Below.Addr) }),
	)
	if err != nil {
		return fmt.Errorf("cable %s to %s: %w", l.Above.Machine, l.Below.Machine, err)
	}
	return nil
}

// number gives a router its own address on lo: without one of global scope its ICMPv6 errors could not leave the link.
func (l *Lab) number(p place.Place) error {
	configs, err := l.routerConfigs()
	if err != nil {
		return err
	}
	a := configs[p.Name].Loopback
	return inside(p, func(k kernel) error { return k.address("lo", netip.PrefixFrom(a, a.BitLen())) })
}
