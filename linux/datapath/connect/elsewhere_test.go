package connect

import (
	"net/netip"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// While nobody listens at the DNS server of the host, its clients are led elsewhere: those of the host, and those in the namespace of an
// endpoint, whose first link leads to the host.
func TestElsewhere(t *testing.T) {
	w := newWorld(t)
	endpoint := netnstest.New(t)
	here, cluster := netip.MustParseAddrPort("[2001:db8:1::53]:53"), netip.MustParseAddrPort("[2001:db8:1::5]:5353")
	at := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	netnstest.Connect(t, netnstest.End{NS: w.ns, Name: "hx-e", Addrs: at("2001:db8:2::1/64")}, netnstest.End{NS: endpoint, Name: "eth0", Addrs: at("2001:db8:2::2/64")})
	netnstest.Run(t, endpoint, "ip link set lo up")
	netnstest.Run(t, endpoint, "ip -6 route add default via 2001:db8:2::1 dev eth0")
	inside := newClient(t, endpoint, w.cgroup)
	w.server.udp(cluster)
	dns := netip.AddrPortFrom(vip.Addr(), 53)
	f := frontend(dns, transport.UDP, here)
	f.Elsewhere = []netip.AddrPort{cluster}
	w.reconcile(f)
	ask := func(what string, want netip.AddrPort) {
		t.Helper()
		for name, c := range map[string]*client{"the host": w.client, "an endpoint": inside} {
			for _, connected := range []bool{true, false} {
				s := c.do(order{Do: "open", Type: "udp", To: dns}).Sock
				if connected {
					c.do(order{Do: "connect", Sock: s, To: dns})
					c.do(order{Do: "write", Sock: s})
				} else {
					c.do(order{Do: "send", Sock: s, To: dns})
				}
				if from := c.do(order{Do: "recv", Sock: s}).From; from != dns {
					t.Errorf("%s: %s, connected %v: answered by %s, want %s", what, name, connected, from, dns)
				}
				c.do(order{Do: "close", Sock: s})
			}
		}
		if got := w.server.count(); got[want] != 4 || len(got) != 1 {
			t.Errorf("%s: answered by %v, want 4 times %s", what, got, want)
		}
	}
	(&servers{t: t, ns: endpoint, seen: map[netip.AddrPort]int{}}).udp(netip.MustParseAddrPort("[::]:53")) // of somebody else; it does not count
	ask("nobody listens", cluster)
	end := w.server.udp(here)
	ask("the server listens", here)
	w.open(t) // another agent finds it as it is
	if delta, err := w.hooks.Reconcile(t.Context(), []service.Frontend{f}); err != nil || !delta.Empty() {
		t.Errorf("the second process changed %+v, %v", delta, err)
	}
	ask("after a restart", here)
	end()
	ask("it has gone", cluster)
	f.Elsewhere = nil
	w.server.udp(here)
	w.reconcile(f)
	ask("with nobody elsewhere", here)
	w.reconcile()
	if n := len(w.hooks.entries); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}
