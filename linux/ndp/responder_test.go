package ndp_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

var held = netip.MustParseAddr("2001:db8:1::77:12:3456")

// A host has an address of a prefix that the neighbour believes to be on the link.
func TestFirstPingIsAnswered(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, []string{"2001:db8:1::1/64"}, []string{"2001:db8:1::100/64"})
	host.hold(t, held)
	if ok, out := peer.ping(held); ok {
		t.Fatalf("somebody else answers:\n%s", out)
	}
	netnstest.Run(t, peer.ns, "ip -6 neigh flush dev eth0")
	r := host.responder(t)
	answers(t, r, held)
	if ok, out := peer.ping(held); !ok {
		t.Errorf("the first ping is lost:\n%s", out)
	}
	if got := r.State()["eth0"]; got.Addrs != 1 || got.Groups != 1 || len(got.Conflicts) != 0 {
		t.Errorf("state %+v", got)
	}
	if neighbour := netnstest.Run(t, peer.ns, "ip -6 neigh show "+held.String()); strings.Contains(neighbour, " router ") {
		t.Errorf("the endpoint says to be a router: %s", neighbour)
	}
}

// An idle neighbour is asked again by a solicitation to its own address (RFC 4861 7.3.3), which no ICMPv6 socket of the host sees.
func TestRFC4861_7_3_3_UnicastProbeIsAnswered(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, []string{"2001:db8:1::1/64"}, []string{"2001:db8:1::100/64"})
	host.hold(t, held)
	answers(t, host.responder(t), held)
	netnstest.Run(t, peer.ns, "sysctl -qw net.ipv6.neigh.eth0.base_reachable_time_ms=300 net.ipv6.neigh.eth0.delay_first_probe_time=1 net.ipv6.neigh.eth0.mcast_resolicit=0")
	news := lines(t, peer.ns, "ip -6 monitor neigh dev eth0")
	probes := dump(t, host.ns, "-vi eth0 icmp6[icmp6type]=135 and dst "+held.String())
	if ok, out := peer.ping(held); !ok {
		t.Fatalf("ping:\n%s", out)
	}
	await(t, news, held.String(), "PROBE")
	await(t, news, held.String(), "REACHABLE")
	await(t, probes, "> "+held.String()) // it went to the address itself, not to its group
}

func TestRFC4862_5_4_4_ClaimOfAnotherIsDefended(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, nil, nil)
	said := dump(t, peer.ns, "-ei eth0 icmp6[icmp6type]=136 and dst ff02::1 and src "+held.String())
	r := host.responder(t)
	answers(t, r, held)
	for range 3 { // an announcement would make the claimant give up as well (RFC 4861 7.2.6)
		await(t, said, host.mac)
	}
	// The claimant waits for an objection as long as that (RFC 4862 5.4): this machine may do much else.
	netnstest.Run(t, peer.ns, "sysctl -qw net.ipv6.conf.eth0.accept_dad=1 net.ipv6.neigh.eth0.retrans_time_ms=30000")
	sub, err := rtnl.Subscribe(peer.ns, rtnl.Addresses)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	netnstest.Run(t, peer.ns, "ip -6 addr add "+held.String()+"/64 dev eth0")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		events, err := sub.Receive(ctx)
		if err != nil {
			t.Fatalf("the kernel of the claimant did not say that the address is a duplicate: %v", err)
		}
		for _, e := range events {
			if e.Addr == nil || e.Addr.Prefix.Addr() != held {
				continue
			}
			if e.Addr.Flags&unix.IFA_F_DADFAILED != 0 {
				if got := r.State()["eth0"].Defended; got == 0 {
					t.Error("the defence is not counted")
				}
				return
			}
			if e.Addr.Flags&unix.IFA_F_TENTATIVE == 0 {
				t.Fatal("the claimant uses the address")
			}
		}
	}
}

// A shared address is looked for before it is used, and not used where somebody has it.
func TestRFC4862_5_4_OwnDetection(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, nil, []string{held.String() + "/64"})
	r := host.responder(t)
	err := r.Ensure(t.Context(), "eth0", ndp.Answer{Addr: held, Shared: true})
	duplicate, ok := errors.AsType[*ndp.DuplicateError](err)
	if !ok || duplicate.MAC.String() != peer.mac {
		t.Fatalf("Ensure of an address of the peer: %v, want a DuplicateError with %s", err, peer.mac)
	}
	if got := r.State()["eth0"]; got.Addrs+got.Probing+got.Groups != 0 {
		t.Errorf("what is left of the refused address: %+v", got)
	}
	free := held.Next()
	for range 2 { // a second call finds it done
		if err := r.Ensure(t.Context(), "eth0", ndp.Answer{Addr: free, Shared: true}); err != nil {
			t.Fatalf("Ensure of a free address: %v", err)
		}
	}
	if got := r.State()["eth0"]; got.Addrs != 1 || got.Groups != 1 {
		t.Errorf("state %+v, want one address and its group", got)
	}
	r.Remove("eth0", free)
	if got := r.State()["eth0"]; got.Addrs+got.Groups != 0 {
		t.Errorf("after Remove: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Ensure(ctx, "eth0", ndp.Answer{Addr: free, Shared: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("Ensure without time: %v", err)
	}
	if got := r.State()["eth0"]; got.Addrs+got.Probing+got.Groups != 0 {
		t.Errorf("after a cancelled Ensure: %+v", got)
	}
}

// A pass that wants nothing of the link yet does not end the look for its first address.
func TestReconcileLeavesALookAlone(t *testing.T) {
	t.Parallel()
	host, _ := cable(t, nil, []string{"2001:db8:1::100/64"})
	r := host.responder(t)
	done := make(chan error, 1)
	go func() { done <- r.Ensure(t.Context(), "eth0", ndp.Answer{Addr: held, Shared: true}) }()
	for r.State()["eth0"].Probing == 0 { // it begins at once
		runtime.Gosched()
	}
	if _, err := r.Reconcile(t.Context(), map[string][]ndp.Answer{"eth0": nil}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the look ended: %v", err)
	}
}

// Two hosts that want the same address at the same time: not both get it.
func TestRFC4862_5_4_3_TwoLookAtOnce(t *testing.T) {
	t.Parallel()
	a, b := cable(t, nil, nil)
	results := make(chan error, 2)
	for _, r := range []*ndp.Responder{a.responder(t), b.responder(t)} {
		go func() { results <- r.Ensure(t.Context(), "eth0", ndp.Answer{Addr: held, Shared: true}) }()
	}
	if x, y := <-results, <-results; x == nil && y == nil {
		t.Error("both use the address")
	}
}

// The second host says that it has the address now, and the first one sees it.
func TestTakeover(t *testing.T) {
	t.Parallel()
	sw := newLAN(t, "mcast_snooping 0")
	first, second := sw.join(t, "2001:db8:1::1/64"), sw.join(t, "2001:db8:1::2/64")
	peer := sw.join(t, "2001:db8:1::100/64")
	first.hold(t, held)
	second.hold(t, held)
	said := dump(t, peer.ns, "-ei eth0 icmp6[icmp6type]=136 and dst ff02::1 and src "+held.String())
	old := first.responder(t)
	answers(t, old, held)
	if ok, out := peer.ping(held); !ok {
		t.Fatalf("ping of the first host:\n%s", out)
	}
	if have := netnstest.Run(t, peer.ns, "ip -6 neigh show "+held.String()); !strings.Contains(have, first.mac) {
		t.Fatalf("neighbour %s, want MAC %s", have, first.mac)
	}
	for range 3 { // RFC 4861 7.2.6
		await(t, said, first.mac)
	}
	news, err := rtnl.Subscribe(peer.ns, rtnl.Neighbours)
	if err != nil {
		t.Fatal(err)
	}
	defer news.Close()
	fresh := second.responder(t)
	began := time.Now()
	answers(t, fresh, held)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for moved := false; !moved; {
		events, err := news.Receive(ctx)
		if err != nil {
			t.Fatalf("the neighbour does not learn the MAC of the second host: %v", err)
		}
		for _, e := range events {
			moved = moved || e.Neigh != nil && e.Neigh.Addr == held && e.Neigh.MAC.String() == second.mac
		}
	}
	t.Logf("the neighbour sends to the second host after %s", time.Since(began))
	until(t, old.Changed(), "the first host reports the conflict", func() bool {
		c := old.State()["eth0"].Conflicts
		return len(c) == 1 && c[0].Addr == held && c[0].MAC.String() == second.mac
	})
	if c := fresh.State()["eth0"].Conflicts; len(c) != 0 {
		t.Errorf("the first host fights for the address: %v", c)
	}
	if ok, out := peer.ping(held); !ok {
		t.Errorf("ping of the second host:\n%s", out)
	}
}

// sameGroup returns n addresses with the same low 24 bits.
func sameGroup(n int) []netip.Addr {
	addrs := make([]netip.Addr, n)
	for i := range addrs {
		addrs[i] = netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x:%x12:3456", 0x100+i>>8, i&0xff))
	}
	return addrs
}

// groupsOf counts the solicited-node groups that a node has joined on eth0.
func groupsOf(t *testing.T, n *node) int {
	t.Helper()
	count := 0
	for _, l := range strings.Split(netnstest.Run(t, n.ns, "cat /proc/net/igmp6"), "\n") {
		if f := strings.Fields(l); len(f) > 2 && f[1] == "eth0" && strings.HasPrefix(f[2], "ff0200000000000000000001ff") {
			count++
		}
	}
	return count
}

// Through a switch with multicast snooping and a querier, past the time after which it forgets who does not report. Beside us are a
// host whose reports are lost, as a control that the switch does forget, and ndppd.
func TestManyAddressesCostOneGroup(t *testing.T) {
	t.Parallel()
	ndppd := wanted(t, "ndppd")
	sw := newLAN(t, "mcast_snooping 1 mcast_querier 1 mcast_query_interval 200 mcast_query_response_interval 50 mcast_membership_interval 500 mcast_startup_query_interval 100 mcast_mld_version 2")
	for _, querier := range []string{"0", "1"} { // anew, with the short times
		netnstest.Run(t, sw.ns, "ip link set br0 type bridge mcast_querier "+querier)
	}
	host, peer := sw.join(t, "2001:db8:1::1/64"), sw.join(t, "2001:db8:1::100/64")
	other, deaf := sw.join(t, "2001:db8:1::2/64"), sw.join(t, "2001:db8:1::3/64")
	mdb := lines(t, sw.ns, "stdbuf -oL bridge monitor mdb")

	addrs := sameGroup(3000)
	host.hold(t, addrs...)
	before := groupsOf(t, host)
	r := host.responder(t)
	answers(t, r, addrs...)
	if got := groupsOf(t, host) - before; got != 1 {
		t.Errorf("3000 addresses joined %d groups, want 1", got)
	}

	theirs := netip.MustParseAddr("2001:db8:1:0:aaaa::1")
	other.hold(t, theirs)
	theirsBefore := groupsOf(t, other)
	conf := filepath.Join(t.TempDir(), "ndppd.conf")
	if err := os.WriteFile(conf, []byte("proxy eth0 {\n rule 2001:db8:1:0:aaaa::/80 {\n  static\n }\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, other.ns, ndppd, "-c", conf, "-v")

	lost := netip.MustParseAddr("2001:db8:1::dead:beef")
	netnstest.Run(t, deaf.ns, "ip -6 addr add "+lost.String()+"/64 dev eth0 nodad")
	await(t, mdb, "ff02::1:ffad:beef")
	netnstest.Run(t, deaf.ns, "nft add table ip6 deaf")
	netnstest.Run(t, deaf.ns, "nft add chain ip6 deaf out { type filter hook output priority 0 ; }")
	netnstest.Run(t, deaf.ns, "nft add rule ip6 deaf out icmpv6 type { mld-listener-report, mld2-listener-report } drop")
	await(t, mdb, "Deleted", "ff02::1:ffad:beef") // the membership time-out is over
	began := time.Now()
	for ok := true; ok; { // a switch floods until its querier has been there for a while
		netnstest.Run(t, peer.ns, "ip -6 neigh flush dev eth0")
		var out string
		if ok, out = peer.ping(lost); ok && time.Since(began) > patience {
			t.Fatalf("the switch does not snoop: a host that does not report was found\n%s", out)
		}
	}

	answered := 0
	for _, a := range []netip.Addr{addrs[0], addrs[1], addrs[1499], addrs[2999]} {
		ok, out := peer.ping(a)
		if !ok {
			t.Errorf("%s is lost:\n%s", a, out)
			continue
		}
		answered++
	}
	if have := netnstest.Run(t, sw.ns, "bridge mdb show"); strings.Count(have, "port p1 grp ff02::1:ff12:3456") != 1 {
		t.Errorf("the switch has other groups than one for the host:\n%s", have)
	}
	found, _ := peer.ping(theirs)
	t.Logf("hexapod: %d of 4 answered, 3000 addresses, %d group joined; ndppd: answered %v, 1 address, %d groups joined",
		answered, groupsOf(t, host)-before, found, groupsOf(t, other)-theirsBefore)
}

// Addresses without anything in common cost a group each, also more than one socket may join.
func TestMoreGroupsThanOneSocketHolds(t *testing.T) {
	t.Parallel()
	host, _ := cable(t, nil, nil)
	before := groupsOf(t, host)
	r := host.responder(t)
	var addrs []netip.Addr
	for i := range 3000 {
		addrs = append(addrs, netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x:%x", 1+i>>8, i)))
	}
	answers(t, r, addrs...)
	if got := groupsOf(t, host) - before; got != 3000 {
		t.Errorf("%d groups joined for 3000 different addresses", got)
	}
	if _, err := r.Reconcile(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := groupsOf(t, host) - before; got != 0 {
		t.Errorf("%d groups are left", got)
	}
}

func TestReconcileNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	host, _ := cable(t, nil, nil)
	r := host.responder(t)
	_, err := r.Reconcile(t.Context(), map[string][]ndp.Answer{
		"eth9": {{Addr: held}}, "lo": {{Addr: held}}, "eth0": {{Addr: netip.MustParseAddr("ff02::1")}, {Addr: held}},
	})
	for _, want := range []string{"link eth9 does not exist", "link lo has no Ethernet address", "address ff02::1: not a unicast address"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if got := r.State()["eth0"].Addrs; got != 1 {
		t.Errorf("%d addresses: one that fails keeps the others away", got)
	}
}

// The link is made anew under the same name: the next pass answers there.
func TestLinkIsReplaced(t *testing.T) {
	t.Parallel()
	host, peer := cable(t, []string{"2001:db8:1::1/64"}, []string{"2001:db8:1::100/64"})
	host.hold(t, held)
	r := host.responder(t)
	answers(t, r, held)
	netnstest.Run(t, host.ns, "ip link del eth0")
	netnstest.Connect(t, end(host.ns, "eth0", []string{"2001:db8:1::1/64"}), end(peer.ns, "eth0", []string{"2001:db8:1::100/64"}))
	if _, err := r.Reconcile(t.Context(), map[string][]ndp.Answer{"eth0": {{Addr: held}}}); err != nil {
		t.Fatal(err)
	}
	if ok, out := peer.ping(held); !ok {
		t.Errorf("ping over the new link:\n%s", out)
	}
}
