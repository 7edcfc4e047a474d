package datapath

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// No link of the host has the address of the gateway, or hears what is sent to groups: an endpoint that has lost its permanent neighbour
// finds the gateway all the same, takes it for a router, and gets an echo of it.
func TestRFC4861_7_2_4_GatewayIsNobodysAddress(t *testing.T) {
	b := newBench(t)
	p := b.pods[0]
	netnstest.Run(t, b.ns, "ip -6 route del ff00::/8 dev "+p.link+" table local")
	if out := netnstest.Run(t, b.ns, "ip -6 addr show dev "+p.link); strings.Contains(out, "inet6") {
		t.Fatalf("the host side has an address:\n%s", out)
	}
	neighbour := func() string {
		t.Helper()
		return netnstest.Run(t, p.ns, "ip -6 neigh show fe80::1 dev eth0")
	}
	for _, to := range []string{"3fff:7::1", "fe80::1%eth0", b.pods[1].addr.String()} {
		netnstest.Run(t, p.ns, "ip -6 neigh flush dev eth0 nud permanent")
		netnstest.Run(t, p.ns, "ip -6 neigh flush dev eth0")
		before := b.count(t, datapath.FromEndpoint, datapath.Answered)
		b.ping(t, 0, to)
		if have := neighbour(); !strings.Contains(have, "lladdr "+desired.HostMAC(podKey(0)).String()+" router ") {
			t.Errorf("ping %s: the neighbour became %q", to, have)
		}
		if b.count(t, datapath.FromEndpoint, datapath.Answered) == before {
			t.Errorf("ping %s: nobody asked", to)
		}
	}
	// Nothing else is there: the host says so, from an address of its own.
	netnstest.Do(t, p.ns, func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		to := unix.SockaddrInet6{Port: 80, Addr: desired.Gateway().As16(), ZoneId: uint32(link.Index)}
		if err := unix.Connect(fd, &to); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("connect to the gateway: %v", err)
		}
		return nil
	})
}
