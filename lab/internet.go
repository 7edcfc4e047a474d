package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/lab/place"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/rtnl"
)

// The IPv4 Internet of a lab: a server that has nothing but IPv4, behind the outside, which has both. Each host has a second cable to the
// outside with IPv4 on it, and an address of the pool that is routed to it. The addresses are somebody's in the real Internet, because
// the well-known prefix carries no others (RFC 6052 3.1); no packet with them leaves the lab.
var (
	internetAddr   = netip.MustParseAddr("45.66.0.80")
	internetRouter = netip.MustParseAddr("45.66.0.1")
)

// InternetAddr is the server of the IPv4 Internet.
func InternetAddr() netip.Addr { return internetAddr }

// InternetName is its name, which it also serves itself: it has no IPv6 address.
const InternetName = "www.four.test"

// link4 is the name of a host's interface with IPv4.
const link4 = "v4"

// hostAddrs4 are the addresses on the IPv4 cable of a host: the outside's, the host's, and its address of the pool.
func hostAddrs4(h topology.Host) (above, below, pool netip.Addr) {
	at := func(net, last int) netip.Addr {
		return netip.AddrFrom4([4]byte{45, byte(net), byte(h.Rack), byte(last)})
	}
	return at(64, 4*h.Number-3), at(64, 4*h.Number-2), at(65, h.Number)
}

// PoolOf is the IPv4 address by which servers see the endpoints of a host.
func (l *Lab) PoolOf(host string) netip.Addr {
	h, ok := l.host(host)
	if !ok {
		return netip.Addr{}
	}
	_, _, pool := hostAddrs4(h)
	return pool
}

// nameOf4 names who has an IPv4 address; empty: nobody.
func (l *Lab) nameOf4(a netip.Addr) string {
	switch a {
	case internetAddr:
		return topology.Internet
	case internetRouter:
		return topology.Outside
	}
	for _, h := range l.state.Hosts {
		switch above, below, pool := hostAddrs4(h); a {
		case above:
			return topology.Outside
		case below, pool:
			return h.Name
		}
	}
	return ""
}

// translationsFile is the configuration of the hosts' translators.
const translationsFile = "translations.yaml"

// AddInternet adds an IPv4 Internet to a running lab and lets every host translate for its endpoints, and look names up for them.
func (l *Lab) AddInternet(ctx context.Context) error {
	if l.state.Internet || l.state.Provider.IsValid() {
		return fmt.Errorf("lab %s has an IPv4 Internet already", l.name)
	}
	l.state.Internet = true
	if err := l.save(); err != nil {
		return err
	}
	if err := l.makeInternet(ctx); err != nil {
		return fmt.Errorf("IPv4 Internet: %w", err)
	}
	var objects []v1alpha1.Object
	for _, h := range l.state.Hosts {
		if err := l.joinInternet(h); err != nil {
			return fmt.Errorf("IPv4 Internet: %w", err)
		}
		_, _, pool := hostAddrs4(h)
		objects = append(objects, v1alpha1.NewTranslation(h.Name, v1alpha1.TranslationSpec{
			Hosts: []string{h.Name}, Pool: []v1alpha1.Prefix{v1alpha1.PrefixFrom(netip.PrefixFrom(pool, 32))},
		}))
	}
	return errors.Join(l.writeObjects(translationsFile, objects...), l.writeObjects(planFile, l.state.plan()))
}

// makeInternet makes the server and its cable.
func (l *Lab) makeInternet(ctx context.Context) error {
	for _, folder := range []string{"run", "etc", "var"} {
		if err := os.MkdirAll(l.folder(topology.Internet, folder), 0o755); err != nil {
			return err
		}
	}
	p := l.place(topology.Internet)
	err := p.Make(ctx, filepath.Join(l.state.Bin, "hexapod"), holdCall, place.Spec{
		Run: l.folder(topology.Internet, "run"),
		Binds: []place.Bind{
			{From: l.folder(topology.Internet, "etc"), To: "/etc/hexapod"},
			{From: l.folder(topology.Internet, "var"), To: "/var/lib/hexapod"},
		},
	})
	if err != nil {
		return err
	}
	err = errors.Join(
		l.cable4("to-internet", topology.Internet, "eth0"),
		l.within(topology.Outside, func(k kernel) error { return k.address4("to-internet", internetRouter, 24) }),
		l.within(topology.Internet, func(k kernel) error {
			return errors.Join(k.address4("eth0", internetAddr, 24), k.route4("eth0", netip.PrefixFrom(netip.IPv4Unspecified(), 0), internetRouter))
		}),
		l.place(topology.Outside).Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }),
	)
	if err != nil {
		return err
	}
	serve := exec.Command(filepath.Join(l.state.Bin, "hexapod"), "lab", "probe", "serve", "--ipv4", "--name", InternetName+"="+internetAddr.String(), topology.Internet)
	serve.Dir, serve.Env = "/", l.environ()
	if err := p.Start(serve, "server", ""); err != nil {
		return err
	}
	go func() { _ = serve.Wait() }() // reaps it when it ends while this process lives
	return nil
}

// joinInternet gives a host IPv4.
func (l *Lab) joinInternet(h topology.Host) error {
	above, below, pool := hostAddrs4(h)
	port := "v4-" + h.Name
	return errors.Join(
		l.cable4(port, h.Name, link4),
		l.within(topology.Outside, func(k kernel) error {
			return errors.Join(k.address4(port, above, 30), k.route4(port, netip.PrefixFrom(pool, 32), below))
		}),
		l.within(h.Name, func(k kernel) error {
			return errors.Join(k.address4(link4, below, 30), k.route4(link4, netip.PrefixFrom(netip.IPv4Unspecified(), 0), above))
		}),
	)
}

// cable4 lays a cable from the outside to a machine, both ends up and without IPv6.
func (l *Lab) cable4(port, machine, link string) error {
	pid, err := l.place(machine).Holder()
	if err != nil {
		return err
	}
	peer, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer peer.Close()
	up := func(name string) func(kernel) error {
		return func(k kernel) error {
			i, err := k.index(name)
			if err != nil {
				return err
			}
			return k.conn.Do(rtnl.SetAddrGenMode(i, name, rtnl.GenNone), rtnl.SetUp(i, name, true))
		}
	}
	err = l.within(topology.Outside, func(k kernel) error { return k.veth(port, link, int(peer.Fd())) })
	if err == nil {
		err = errors.Join(l.within(topology.Outside, up(port)), l.within(machine, up(link)))
	}
	return err
}

func (l *Lab) within(machine string, fn func(kernel) error) error {
	return inside(l.place(machine), fn)
}

func (k kernel) address4(link string, a netip.Addr, bits int) error {
	return k.address(link, netip.PrefixFrom(a, bits))
}

func (k kernel) route4(link string, dst netip.Prefix, via netip.Addr) error {
	i, err := k.index(link)
	if err != nil {
		return err
	}
	return k.conn.Do(rtnl.AddRoute(rtnl.Route{Dst: dst, Via: via, Index: i, Link: link, Type: unix.RTN_UNICAST, Protocol: unix.RTPROT_STATIC, Table: unix.RT_TABLE_MAIN}, rtnl.Replace))
}
