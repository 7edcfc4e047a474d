package route_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/model/desired"
)

// scanned is a router, and a host that it routes a prefix to and that sends all it does not know back to the router.
func scanned(t *testing.T) (router, host *netns.NS) {
	t.Helper()
	router, host = netnstest.New(t), netnstest.New(t)
	at := func(s string) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(addr(s), 64)} }
	netnstest.Connect(t, netnstest.End{NS: router, Name: "up0", Quiet: true, Addrs: at("fe80::1")}, netnstest.End{NS: host, Name: "up0", Quiet: true, Addrs: at("fe80::2")})
	for ns, via := range map[*netns.NS]string{router: "3fff:0:0:1::/64 via fe80::2", host: "default via fe80::1"} {
		netnstest.Run(t, ns, "ip link set lo up")
		netnstest.Run(t, ns, "sysctl -qw net.ipv6.conf.all.forwarding=1")
		netnstest.Run(t, ns, "ip -6 route add "+via+" dev up0")
	}
	netnstest.Run(t, router, "ip -6 addr add 3fff::1/128 dev lo nodad")
	netnstest.Run(t, host, "ip -6 addr add 3fff:0:0:2::1/128 dev lo nodad") // what the host answers from
	return router, host
}

// scan sends one packet to each of n addresses that nothing has and returns how many packets the two ends of the link sent.
func scan(t *testing.T, router, host *netns.NS, n int) (toHost, toRouter int) {
	t.Helper()
	var c *net.UDPConn
	netnstest.Do(t, router, func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr("3fff::1"), 0)))
		return err
	})
	defer c.Close()
	there, back := sent(t, router, "up0"), sent(t, host, "up0")
	for i := range n {
		a := prefix("3fff:0:0:1::/64").Addr().As16()
		a[13], a[14], a[15] = byte(i>>16), byte(i>>8), byte(i)
		if _, err := c.WriteToUDPAddrPort([]byte("scan"), netip.AddrPortFrom(netip.AddrFrom16(a), 9)); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	return sent(t, router, "up0") - there, sent(t, host, "up0") - back
}

// TestRFC7084_4_2_WPD5_Scan scans a host from outside: each packet crosses the link once, and answers come only as
// fast as RFC 4443 2.4 (f) lets them. Without the discard route the same packets go to and fro.
func TestRFC7084_4_2_WPD5_Scan(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	const stray = 20 // neighbour discovery
	router, host := scanned(t)
	before := sent(t, router, "up0")
	scan(t, router, host, 100)
	for begun := time.Now(); ; { // the kernel goes on with them behind the back of the sender
		crossed := sent(t, router, "up0") - before
		if crossed >= 10*100 {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("control: without a discard route %d packets crossed the link for 100 sent, want many", crossed)
		}
	}
	table, err := route.Open(host, route.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	reconcile(t, table, desired.Route{Dst: prefix("3fff:0:0:1::/64"), Discard: true})
	for last, now := -1, 0; now != last; { // those that still went to and fro have ended
		last, now = now, sent(t, router, "up0")
	}
	start := time.Now()
	toHost, toRouter := scan(t, router, host, n)
	if toHost < n || toHost > n+stray {
		t.Errorf("%d packets crossed the link towards the host for %d sent", toHost, n)
	}
	// The kernel's limit for one receiver is some at once and then one in net.ipv6.icmp.ratelimit, a second at most.
	if most := 100 + stray + 10*int(time.Since(start).Seconds()); toRouter == 0 || toRouter > most {
		t.Errorf("%d answers, want from 1 to %d", toRouter, most)
	}
	t.Logf("%d packets in, %d out", toHost, toRouter)
}
