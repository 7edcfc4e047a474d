package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// bench is a host with two endpoints and an uplink to a far host; the endpoints' links are made as an agent makes them.
type bench struct {
	ns, far *netns.NS
	run     string
	table   *Table
	pods    []pod
	uplinks []string
	sent    int // datagrams that have a text of their own
}

type pod struct {
	ns    *netns.NS
	link  string
	addr  netip.Addr
	index int
}

var benchPrefix = netip.MustParsePrefix("2001:db8:a000:c12::/64")

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{ns: netnstest.New(t), far: netnstest.New(t), run: t.TempDir(), uplinks: []string{"up0"}}
	t.Cleanup(func() {
		if err := unix.Unmount(filepath.Join(b.run, "bpf"), unix.MNT_DETACH); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	})
	netnstest.Run(t, b.ns, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	for _, ns := range []*netns.NS{b.ns, b.far} {
		netnstest.Run(t, ns, "ip link set lo up")
	}
	netnstest.Connect(t, netnstest.End{NS: b.ns, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("3fff:9::1/64")}, Quiet: true},
		netnstest.End{NS: b.far, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("3fff:9::2/64")}, Quiet: true})
	netnstest.Run(t, b.far, "ip -6 route add "+benchPrefix.String()+" via 3fff:9::1")
	netnstest.Run(t, b.far, "ip -6 addr add 3fff:7::1/128 dev lo")
	netnstest.Run(t, b.ns, "ip -6 route add default via 3fff:9::2")
	b.open(t)
	for i := range 2 {
		b.add(t, i)
	}
	b.reconcile(t)
	b.awaitCarrier(t, b.ns, "3fff:7::1")
	for _, p := range b.pods {
		b.awaitCarrier(t, p.ns, "fe80::1%eth0")
	}
	return b
}

// awaitCarrier waits until both ends of a link send: for up to a second after its carrier came the kernel drops what it should send.
func (b *bench) awaitCarrier(t testing.TB, from *netns.NS, to string) {
	t.Helper()
	for range 20 {
		if _, err := netnstest.Try(from, "ping -6 -c1 -W1 "+to); err == nil {
			return
		}
	}
	counts, err := b.table.Maps().Counts()
	links, _ := netnstest.Try(b.ns, "ip -s -d link")
	t.Fatalf("%s does not answer: %v, %v\n%s", to, counts, err, links)
}

func (b *bench) open(t testing.TB) {
	t.Helper()
	var err error
	if b.table, err = Open(Options{NS: b.ns, Root: filepath.Join(b.run, "none"), Run: b.run, release: releaseToCompare()}); err != nil {
		t.Fatal(err)
	}
	table := b.table
	t.Cleanup(func() { table.Close() })
	must(t, b.table.Maps().SetFast(true))
}

func podKey(i int) desired.EndpointKey {
	return desired.EndpointKey{Container: fmt.Sprintf("c%d", i), Interface: "eth0"}
}

// podOf is an endpoint that nobody has made yet.
func podOf(i int) pod {
	raw := benchPrefix.Addr().As16()
	raw[8], raw[9], raw[15] = 1, 0xa7, byte(i+1)
	return pod{link: desired.LinkName(podKey(i)), addr: netip.AddrFrom16(raw)}
}

// add makes an endpoint: pair, address, route, neighbours, programs.
func (b *bench) add(t testing.TB, i int) {
	t.Helper()
	b.addIn(t, i, netnstest.New(t))
}

func (b *bench) addIn(t testing.TB, i int, ns *netns.NS) {
	t.Helper()
	k, p := podKey(i), podOf(i)
	p.ns = ns
	conn, err := rtnl.Dial(b.ns)
	must(t, err)
	defer conn.Close()
	var l rtnl.Link
	must(t, conn.Do(rtnl.AddVeth(rtnl.VethEnd{Name: p.link, MAC: desired.HostMAC(k), Group: rtnl.EndpointGroup, NetNS: -1},
		rtnl.VethEnd{Name: "eth0", MAC: desired.EndpointMAC(k), NetNS: p.ns.FD()}), rtnl.GetLink(p.link, &l)))
	p.index = l.Index
	for _, part := range b.table.Parts(p.link, nil) {
		must(t, conn.Do(part.Request(l.Index)))
	}
	for _, line := range []string{"addrgenmode none", "up"} { // in one message, an old kernel would set the link up first and give it an address
		netnstest.Run(t, b.ns, "ip link set "+p.link+" "+line)
		netnstest.Run(t, p.ns, "ip link set eth0 "+line)
	}
	netnstest.Run(t, p.ns, "ip link set lo up")
	netnstest.Run(t, b.ns, "ip -6 route add "+p.addr.String()+" dev "+p.link)
	netnstest.Run(t, b.ns, "ip -6 neigh add "+p.addr.String()+" dev "+p.link+" lladdr "+desired.EndpointMAC(k).String()+" nud permanent")
	netnstest.Run(t, p.ns, "ip -6 addr add "+p.addr.String()+"/128 dev eth0 nodad")
	netnstest.Run(t, p.ns, "ip -6 neigh add fe80::1 dev eth0 lladdr "+desired.HostMAC(k).String()+" nud permanent")
	netnstest.Run(t, p.ns, "ip -6 route add default via fe80::1 dev eth0")
	b.pods = append(b.pods, p)
}

func (b *bench) want() datapath.Want {
	w := datapath.Want{
		Uplinks:   map[string]datapath.LinkFlags{},
		Inside:    map[netip.Prefix]datapath.WantInside{benchPrefix: {Flags: datapath.Own | datapath.Located}, netip.MustParsePrefix("2001:db8:a000::/37"): {Flags: datapath.Located}},
		Endpoints: map[netip.Addr]datapath.WantEndpoint{},
	}
	for _, name := range b.uplinks {
		w.Uplinks[name] = datapath.Uplink | datapath.Outside
	}
	for i, p := range b.pods {
		w.Endpoints[p.addr] = datapath.WantEndpoint{Link: p.link, MAC: desired.EndpointMAC(podKey(i)), HostMAC: desired.HostMAC(podKey(i))}
	}
	return w
}

// reconcile returns what it changed.
func (b *bench) reconcile(t testing.TB) string {
	t.Helper()
	d, err := b.table.Reconcile(context.Background(), b.want())
	must(t, err)
	if d.Empty() {
		return ""
	}
	return fmt.Sprint(d)
}

func (b *bench) count(t testing.TB, place datapath.Place, why datapath.Why) uint64 {
	t.Helper()
	counts, err := b.table.Maps().Counts()
	must(t, err)
	return counts[At{place, why}].Packets
}

func (b *bench) ping(t testing.TB, from int, to string) {
	t.Helper()
	if out, err := netnstest.Try(b.pods[from].ns, "ping -6 -c2 -i0.01 -W2 "+to); err != nil {
		counts, _ := b.table.Maps().Counts()
		t.Fatalf("ping %s: %v\n%s\n%v", to, err, out, counts)
	}
}

func TestPathsOfEndpoints(t *testing.T) {
	b := newBench(t)
	for _, fast := range []bool{true, false} {
		must(t, b.table.Maps().SetFast(fast))
		b.ping(t, 0, b.pods[1].addr.String())
		b.ping(t, 0, "3fff:7::1")
		b.ping(t, 0, "3fff:9::1") // the host itself
		b.ping(t, 0, "fe80::1%eth0")
		if out, err := netnstest.Try(b.far, "ping -6 -c2 -i0.01 -W2 -I 3fff:7::1 "+b.pods[1].addr.String()); err != nil {
			t.Fatalf("from outside: %v\n%s", err, out)
		}
		if out, err := netnstest.Try(b.ns, "ping -6 -c2 -i0.01 -W2 "+b.pods[1].addr.String()); err != nil {
			t.Fatalf("from the host: %v\n%s", err, out)
		}
	}
	for _, at := range []At{{datapath.FromEndpoint, datapath.Local}, {datapath.FromEndpoint, datapath.Remote}, {datapath.FromUplink, datapath.Local},
		{datapath.FromEndpoint, datapath.ToHost}, {datapath.FromEndpoint, datapath.KernelPath}, {datapath.ToEndpoint, datapath.Judged}, {datapath.ToEndpoint, datapath.FromHost}} {
		if b.count(t, at.Place, at.Why) == 0 {
			t.Errorf("no packet was counted at %s as %s", at.Place, at.Why)
		}
	}
}

// TestReconcileRepairs takes away one thing after the other.
func TestReconcileRepairs(t *testing.T) {
	b := newBench(t)
	if d := b.reconcile(t); d != "" {
		t.Errorf("a second reconcile changed %s", d)
	}
	for _, broken := range []string{
		"tc qdisc del dev LINK clsact", "tc filter del dev LINK egress", "tc filter del dev LINK ingress", "nft flush ruleset",
		"nft flush chain inet hexapod forward",
	} {
		netnstest.Run(t, b.ns, strings.ReplaceAll(broken, "LINK", b.pods[0].link))
		if d := b.reconcile(t); d == "" {
			t.Errorf("%s: nothing was repaired", broken)
		}
		if d := b.reconcile(t); d != "" {
			t.Errorf("%s: a second reconcile changed %s", broken, d)
		}
		b.ping(t, 0, b.pods[1].addr.String())
	}
}

// TestNewProcessGoesOn closes the table and opens it again while packets flow.
func TestNewProcessGoesOn(t *testing.T) {
	b := newBench(t)
	b.ping(t, 0, "3fff:7::1")
	must(t, b.table.Close())
	b.ping(t, 0, "3fff:7::1")
	b.ping(t, 0, b.pods[1].addr.String())
	b.open(t)
	if d := b.reconcile(t); d != "{[] [guard] []}" { // of which a new process does not know how it looked
		t.Errorf("the next process changed %s", d)
	}
	b.ping(t, 0, b.pods[1].addr.String())
}

func TestRemoveTakesEverythingOff(t *testing.T) {
	b := newBench(t)
	must(t, b.table.Close())
	n, err := Remove(context.Background(), Options{NS: b.ns, Root: filepath.Join(b.run, "none"), Run: b.run})
	if err != nil || n != 3 {
		t.Errorf("Remove: %d links, %v", n, err)
	}
	b.ping(t, 0, "3fff:7::1")
	if out := netnstest.Run(t, b.ns, "nft list ruleset"); out != "" {
		t.Errorf("rules are left:\n%s", out)
	}
}

// Policy changes while somebody begins and ends to follow drops: both are words of one setting.
func TestSettingsOfSeveralWriters(t *testing.T) {
	b := newBench(t)
	m := b.table.Maps()
	before, err := m.settings()
	if err != nil {
		t.Fatal(err)
	}
	const times = 2000
	var wait sync.WaitGroup
	for _, change := range []func(i int) error{
		func(int) error { return m.NextGeneration() },
		func(i int) error { return m.setFlag(settingEvents, i%2 == 0) },
	} {
		wait.Go(func() {
			for i := range times {
				if err := change(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if s, err := m.settings(); err != nil || s.Generation != before.Generation+times || s.Flags&settingEvents != 0 {
		t.Errorf("flags %x, generation %d, %v: want no events and %d", s.Flags, s.Generation, err, before.Generation+times)
	}
}
