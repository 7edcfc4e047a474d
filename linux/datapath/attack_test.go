package datapath

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

const magic = "hexapod-attack"

var (
	outside = netip.MustParseAddr("3fff:7::1")
	inside  = netip.MustParseAddr("2001:db8:a000:c13:1a7::1") // of another host
	locator = netip.MustParseAddr("2001:db8:a000:c12:2::d")
	allNode = netip.MustParseAddr("ff02::1")
)

// attack is what an endpoint, or somebody outside, may try.
type attack struct {
	name   string
	frames [][]byte
	why    datapath.Why
	pass   int // how many of the frames are harmless and arrive
}

// patience is how long a frame may take; frames that must not come are given a moment.
const (
	patience = 30 * time.Second
	moment   = 100 * time.Millisecond
)

// settle counts until there are n, or a moment has passed if there should be none.
func settle(t testing.TB, n int64, count func() int64) int64 {
	t.Helper()
	limit := patience
	if n == 0 {
		n, limit = 1, moment
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(limit); count() < n && time.Now().Before(end); {
		<-again.C
	}
	return count()
}

// TestAttacksFromAnEndpoint sends from an endpoint by a raw socket what its kernel would not. Who counts is no part of the datapath.
func TestAttacksFromAnEndpoint(t *testing.T) {
	b := newBench(t)
	self, other := b.pods[0], b.pods[1]
	mac, gateway := desired.EndpointMAC(podKey(0)), desired.HostMAC(podKey(0))
	netnstest.Run(t, b.ns, "ip -6 route add "+locator.String()+" encap seg6local action End.DT6 table 254 dev up0")
	frame := func(packet []byte) []byte { return ether(gateway, mac, packet) }
	data := udp(7, 7, magic)
	hops := func(packet []byte, n byte) []byte { packet[7] = n; return packet }
	neighbour := func(kind byte, target netip.Addr, lladdr desired.MAC) []byte {
		raw := target.As16()
		rest := slices.Concat([]byte{0x20, 0, 0, 0}, raw[:], []byte{2, 1}, lladdr[:], []byte{14, 2}, []byte(magic))
		return ether(desired.MAC{0x33, 0x33, 0, 0, 0, 1}, mac, hops(ipv6(self.addr, allNode, 58, 0, icmp(self.addr, allNode, kind, rest)), 255))
	}
	about := func(src, dst netip.Addr) []byte { // an error about a packet
		return slices.Concat([]byte{0, 0, 5, 0}, ipv6(src, dst, 17, 60, udp(4000, 53, magic)))
	}
	srh := append([]byte{17, 2, 4, 1, 0, 0, 0, 0}, func() []byte { a := other.addr.As16(); return a[:] }()...)
	vlan := slices.Concat(gateway[:], mac[:], []byte{0x81, 0, 0, 5, 0x86, 0xdd}, ipv6(self.addr, other.addr, 17, 64, data))
	for _, a := range []attack{
		{"control", [][]byte{frame(ipv6(self.addr, other.addr, 17, 64, data)), frame(ipv6(self.addr, outside, 17, 64, data))}, datapath.Local, 2},
		{"source of a neighbour", [][]byte{frame(ipv6(other.addr, outside, 17, 64, data))}, datapath.SpoofedSource, 0},
		{"source of another host", [][]byte{frame(ipv6(inside, other.addr, 17, 64, data))}, datapath.SpoofedSource, 0},
		{"source outside", [][]byte{frame(ipv6(outside, other.addr, 17, 64, data))}, datapath.SpoofedSource, 0},
		{"no source", [][]byte{frame(ipv6(netip.IPv6Unspecified(), other.addr, 17, 64, data))}, datapath.SpoofedSource, 0},
		{"MAC of a neighbour", [][]byte{ether(gateway, desired.EndpointMAC(podKey(1)), ipv6(self.addr, other.addr, 17, 64, data))}, datapath.SpoofedMAC, 0},
		{"to the MAC of a neighbour", [][]byte{ether(desired.EndpointMAC(podKey(1)), mac, ipv6(self.addr, other.addr, 17, 64, data))}, datapath.ForeignMAC, 0},
		{"advertisement of a neighbour's address", [][]byte{neighbour(136, other.addr, mac)}, datapath.SpoofedNeighbour, 0},
		{"advertisement of another MAC", [][]byte{neighbour(136, self.addr, gateway)}, datapath.SpoofedNeighbour, 0},
		{"router advertisement", [][]byte{neighbour(134, self.addr, mac)}, datapath.RouterAdvertisement, 0},
		{"redirect", [][]byte{neighbour(137, self.addr, mac)}, datapath.Redirect, 0},
		{"segment routing header", [][]byte{frame(ipv6(self.addr, outside, 43, 64, append(srh, data...)))}, datapath.RoutingHeader, 0},
		{"IPv6 in IPv6 to a locator", [][]byte{frame(ipv6(self.addr, locator, 41, 64, ipv6(inside, other.addr, 17, 64, data)))}, datapath.Locator, 0},
		{"error about a packet that was not got", [][]byte{frame(ipv6(self.addr, outside, 58, 64, icmp(self.addr, outside, 2, about(outside, self.addr))))}, datapath.UnrelatedError, 0},
		{"error about a neighbour's packet", [][]byte{frame(ipv6(self.addr, outside, 58, 64, icmp(self.addr, outside, 2, about(outside, other.addr))))}, datapath.UnrelatedError, 0},
		{"multicast", [][]byte{ether(desired.MAC{0x33, 0x33, 0, 0, 0, 1}, mac, ipv6(self.addr, allNode, 17, 64, data))}, datapath.Multicast, 0},
		{"tiny fragment", [][]byte{frame(ipv6(self.addr, other.addr, 44, 64, fragmentOf(6, 0, true, 1, []byte(magic))))}, datapath.FragmentTiny, 0},
		{"fragment without its first", [][]byte{frame(ipv6(self.addr, other.addr, 44, 64, fragmentOf(17, 64, false, 2, []byte(magic))))}, datapath.FragmentUnknown, 0},
		{"overlapping fragment", [][]byte{
			frame(ipv6(self.addr, other.addr, 44, 64, fragmentOf(17, 0, true, 3, append(data, 0, 0)))),
			frame(ipv6(self.addr, other.addr, 44, 64, fragmentOf(17, 8, false, 3, []byte(magic)))),
		}, datapath.FragmentOverlap, 1},
		{"VLAN tag", [][]byte{vlan}, datapath.NotIPv6, 0},
	} {
		t.Run(a.name, func(t *testing.T) {
			from := newWire(t, self.ns, "eth0", magic)
			victims := []*wire{newWire(t, other.ns, "eth0", magic), newWire(t, b.far, "up0", magic)}
			before := b.count(t, datapath.FromEndpoint, a.why)
			for _, f := range a.frames {
				from.send(t, f)
			}
			judged := func() int64 { return int64(b.count(t, datapath.FromEndpoint, a.why) - before) }
			if n := settle(t, 1, judged); n < 1 {
				counts, _ := b.table.Maps().Counts()
				t.Errorf("no packet was counted as %s: %v", a.why, counts)
			}
			arrived := func() int64 { return victims[0].seen.Load() + victims[1].seen.Load() }
			settle(t, int64(a.pass), arrived)
			if n := arrived(); n != int64(a.pass) {
				t.Errorf("%d frames came through, want %d", n, a.pass)
			}
		})
	}
}

// TestFloodCostsTheFlooder lets one endpoint open more flows than the table has room for. A neighbour loses none.
func TestFloodCostsTheFlooder(t *testing.T) {
	b := newBench(t)
	const kept, flood = 10_000, 300_000
	quiet, loud := b.pods[1], b.pods[0]
	one, far := newWire(t, quiet.ns, "eth0", "none"), newWire(t, b.far, "up0", "none")
	up, _, err := b.table.conn.Link("up0")
	must(t, err)
	ask := ether(desired.HostMAC(podKey(1)), desired.EndpointMAC(podKey(1)), ipv6(quiet.addr, outside, 17, 64, udp(0, 53, "")))
	answer := ether(up.MAC, desired.MAC{2, 0, 0, 0, 0, 9}, ipv6(outside, quiet.addr, 17, 64, udp(53, 0, "")))
	for port := range kept {
		put16(ask[54:], uint16(port+1))
		put16(answer[56:], uint16(port+1))
		one.send(t, ask)
		far.send(t, answer)
	}
	established := func() int64 {
		list, err := b.table.Maps().Flows()
		must(t, err)
		n := int64(0)
		for _, f := range list {
			if f.Owner == uint32(quiet.index) && f.State == datapath.Established && f.Key.Proto == 17 {
				n++
			}
		}
		return n
	}
	if n := settle(t, kept, established); n != kept {
		t.Fatalf("%d of %d flows were made", n, kept)
	}
	attacker := newWire(t, loud.ns, "eth0", "none")
	syn := ether(desired.HostMAC(podKey(0)), desired.EndpointMAC(podKey(0)), ipv6(loud.addr, outside, 6, 64, tcp(1, 1, 2)))
	for i := range flood {
		put16(syn[54:], uint16(i))
		put16(syn[56:], uint16(i>>16)+1)
		attacker.send(t, syn)
	}
	if n := settle(t, kept, established); n != kept { // the table is read while packets change it
		t.Errorf("of %d flows of the neighbour %d are left", kept, n)
	}
	if t.Failed() {
		t.Log(strings.TrimSpace(netnstest.Run(t, b.ns, "nft list ruleset")))
	}
}
