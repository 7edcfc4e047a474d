package datapath

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/addressplan/render"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// inside3 is of a third host of the fabric.
var (
	inside3 = netip.MustParseAddr("2001:db8:a000:c14:1a7::1")
	ownMAC  = desired.MAC{2, 0, 0, 0, 0, 9} // of whoever sends
	hostMAC = desired.MAC{2, 0, 0, 0, 0, 19}
)

// ways are the ways into a host by which somebody may send to its endpoints.
type ways map[string]func(t *testing.T, packet []byte)

// byLink sends from the far end of a link of the host.
func (b *bench) byLink(t *testing.T, ns *netns.NS, link string, from desired.MAC) func(*testing.T, []byte) {
	t.Helper()
	return byFrame(t, ns, b.macOf(t, b.ns, link), from)
}

func byFrame(t *testing.T, ns *netns.NS, to, from desired.MAC) func(*testing.T, []byte) {
	t.Helper()
	w := newWire(t, ns, "up0", "none")
	return func(t *testing.T, packet []byte) {
		t.Helper()
		w.send(t, ether(to, from, packet))
	}
}

func (b *bench) macOf(t *testing.T, ns *netns.NS, link string) desired.MAC {
	t.Helper()
	conn, err := rtnl.Dial(ns)
	must(t, err)
	defer conn.Close()
	l, _, err := conn.Link(link)
	must(t, err)
	return l.MAC
}

// wire lays a link of the host to a namespace that nobody else is in, and waits until it carries.
func (b *bench) wire(t *testing.T, link, near, far string) *netns.NS {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: b.ns, Name: link, Addrs: []netip.Prefix{netip.MustParsePrefix(near)}, Quiet: true},
		netnstest.End{NS: ns, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix(far)}, Quiet: true})
	b.awaitCarrier(t, ns, netip.MustParsePrefix(near).Addr().String())
	return ns
}

// byToR sends from a host of the rack through a ToR, with the port filter that the plan is rendered to, or without.
func (b *bench) byToR(t *testing.T, link, net string, filtered bool) func(*testing.T, []byte) {
	t.Helper()
	tor := b.wire(t, link, net+"1/64", net+"2/64")
	oak := netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: tor, Name: "swp20", Quiet: true, Addrs: []netip.Prefix{netip.MustParsePrefix("3fff:e::1/64")}},
		netnstest.End{NS: oak, Name: "up0", Quiet: true, Addrs: []netip.Prefix{netip.MustParsePrefix("3fff:e::2/64")}})
	b.awaitCarrier(t, oak, "3fff:e::1")
	netnstest.Run(t, tor, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	netnstest.Run(t, tor, "ip -6 route add "+benchPrefix.String()+" via "+net+"1")
	if filtered {
		files, err := render.Render(addressplan.Plan{
			Name: "lab", Prefix: netip.MustParsePrefix("2001:db8:a000::/37"), Lengths: addressplan.DefaultLengths(), Lab: true, Rest: addressplan.DefaultRest,
			Clusters: []addressplan.Cluster{{Name: "c0", Racks: []addressplan.Rack{{Name: "r3", Number: 3}}}},
			Hosts:    []addressplan.Host{{Name: "elm", Cluster: "c0", Rack: "r3", Number: 18}, {Name: "oak", Cluster: "c0", Rack: "r3", Number: 19}},
		}, render.Filter, render.Scope{Rack: "c0/r3"}, render.Options{})
		must(t, err)
		path := filepath.Join(t.TempDir(), files[0].Name)
		must(t, os.WriteFile(path, []byte(files[0].Text), 0o600))
		netnstest.Run(t, tor, "nft -f "+path)
	}
	return byFrame(t, oak, b.macOf(t, tor, "swp20"), ownMAC)
}

// waysInto makes every way into the host.
func (b *bench) waysInto(t *testing.T) ways {
	t.Helper()
	w := ways{"uplink marked outside": b.byLink(t, b.far, "up0", ownMAC)}
	flat := b.wire(t, "flat0", "3fff:f::1/64", "3fff:f::2/64")
	w["flat segment, MAC of the host"] = b.byLink(t, flat, "flat0", hostMAC)
	w["flat segment, another MAC"] = b.byLink(t, flat, "flat0", ownMAC)
	w["ToR with the port filter"] = b.byToR(t, "tor0", "3fff:b::", true)
	w["ToR without a filter"] = b.byToR(t, "tor1", "3fff:c::", false)
	w["bridge of containers"] = b.byLink(t, b.wire(t, "docker0", "3fff:d::1/64", "3fff:d::2/64"), "docker0", ownMAC)
	w["second NIC"] = b.byLink(t, b.wire(t, "eth9", "3fff:d:9::1/64", "3fff:d:9::2/64"), "eth9", ownMAC)
	dev, err := tun.Open(b.ns, "tun0")
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	w["TUN"] = func(t *testing.T, packet []byte) {
		t.Helper()
		_, err := dev.Write(packet)
		must(t, err)
	}
	netnstest.Run(t, b.ns, "ip -6 route add "+locator.String()+" encap seg6local action End.DT6 table 254 dev up0")
	w["decapsulation"] = func(t *testing.T, packet []byte) {
		t.Helper()
		w["uplink marked outside"](t, ipv6(outside, locator, 41, 64, packet))
	}
	want := b.want()
	want.Uplinks["flat0"] = datapath.Uplink | datapath.Flat
	want.Uplinks["tor0"], want.Uplinks["tor1"] = datapath.Uplink|datapath.Gateway, datapath.Uplink|datapath.Gateway
	want.Inside[netip.PrefixFrom(inside, 64).Masked()] = datapath.WantInside{Flags: datapath.Located | datapath.KnownBy, Link: "flat0", MAC: hostMAC}
	_, err = b.table.Reconcile(context.Background(), want)
	must(t, err)
	return w
}

// TestForgedInsideSources sends inside sources by every way into a host.
func TestForgedInsideSources(t *testing.T) {
	b := newBench(t)
	neighbour, victim := b.pods[0].addr, b.pods[1]
	w := b.waysInto(t)
	at := newWire(t, victim.ns, "eth0", magic)
	data := udp(9, 9, magic)
	plain := func(src netip.Addr) []byte { return ipv6(src, victim.addr, 17, 64, data) }
	about := func(kind byte, word string) []byte { // an error about a packet of the victim that nobody has seen
		return ipv6(outside, victim.addr, 58, 64, icmp(outside, victim.addr, kind,
			slices.Concat([]byte(word), ipv6(victim.addr, outside, 17, 60, udp(5000, 53, magic)))))
	}
	for _, a := range []struct {
		what, way string
		packet    []byte
		passes    bool
	}{
		{"outside", "uplink marked outside", plain(outside), true},
		{"inside", "uplink marked outside", plain(inside), false},
		{"own prefix", "uplink marked outside", plain(neighbour), false},
		{"routing header", "uplink marked outside", ipv6(outside, victim.addr, 43, 64, append([]byte{17, 0, 4, 0, 0, 0, 0, 0}, data...)), false},
		{"error about nothing", "uplink marked outside", about(1, "\x00\x00\x00\x00"), false},
		{"packet-too-big that names the endpoint", "uplink marked outside", about(2, "\x00\x00\x05\x00"), true},

		{"inside", "flat segment, MAC of the host", plain(inside), true},
		{"inside", "flat segment, another MAC", plain(inside), false},
		{"inside, of a host elsewhere", "flat segment, MAC of the host", plain(inside3), false},
		{"own prefix", "flat segment, MAC of the host", plain(neighbour), false},

		{"of the host that sends", "ToR with the port filter", plain(inside), true},
		{"of another host", "ToR with the port filter", plain(inside3), false},
		{"own prefix", "ToR with the port filter", plain(neighbour), false},
		{"own prefix", "ToR without a filter", plain(neighbour), false},
		{"of another host", "ToR without a filter", plain(inside3), true}, // what the status calls not protected (datapath.BehindRouter)

		{"inside", "decapsulation", plain(inside), false},
		{"own prefix", "decapsulation", plain(neighbour), false},
		{"outside", "TUN", plain(outside), true},
		{"inside", "TUN", plain(inside), false},
		{"own prefix", "TUN", plain(neighbour), false},
		{"outside", "bridge of containers", plain(netip.MustParseAddr("3fff:d::2")), true},
		{"inside", "bridge of containers", plain(inside), false},
		{"own prefix", "bridge of containers", plain(neighbour), false},
		{"outside", "second NIC", plain(outside), true},
		{"inside", "second NIC", plain(inside), false},
		{"own prefix", "second NIC", plain(neighbour), false},
	} {
		t.Run(a.way+"/"+a.what, func(t *testing.T) {
			const frames = 5
			pass, before := int64(0), at.seen.Load()
			for range frames {
				w[a.way](t, a.packet)
			}
			if a.passes {
				pass = frames
			}
			if n := settle(t, pass, func() int64 { return at.seen.Load() - before }); n != pass {
				counts, _ := b.table.Maps().Counts()
				t.Errorf("%d of %d packets came through, want %d; %v\n%s", n, frames, pass, counts, netnstest.Run(t, b.ns, "nft list ruleset"))
			}
		})
	}
}
