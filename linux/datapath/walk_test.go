package datapath

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// walk is one way to get a packet to an endpoint whose policy accepts identity web alone, at port 80; port 443 is published.
type walk struct {
	what string
	from string // source address
	by   string // link it is met at: an endpoint's, or an uplink
	want datapath.Why
	turn func(p *datapath.Packet, b *policy.Believed) // what is special about it
}

func port443(p *datapath.Packet, _ *policy.Believed) { put16(p.Frame[56:], 443) }

func otherMAC(p *datapath.Packet, _ *policy.Believed) { copy(p.Frame[6:12], worldOtherMAC[:]) }

func delivered(mark uint32) func(p *datapath.Packet, _ *policy.Believed) {
	return func(p *datapath.Packet, _ *policy.Believed) {
		p.Place, p.Came, p.Mark = datapath.ToEndpoint, p.Link, mark
	}
}

func both(all ...func(p *datapath.Packet, b *policy.Believed)) func(p *datapath.Packet, b *policy.Believed) {
	return func(p *datapath.Packet, b *policy.Believed) {
		for _, f := range all {
			f(p, b)
		}
	}
}

const (
	walkDB    = "2001:db8:a000:c12:1a7:38b:8d98:3" // 0x1a7
	walkWeb   = "2001:db8:a000:c12:1a8:38b:8d98:5" // 0x1a8
	walkOther = "2001:db8:a000:c12:1a9:38b:8d98:6" // 0x1a9
	farWeb    = "2001:db8:a000:c13:1a8::1"
)

var walks = []walk{
	{"web, on this host", walkWeb, "hxb", datapath.Local, nil},
	{"web, on another host", farWeb, "up0", datapath.Local, nil},
	{"somebody else, on this host", walkOther, "hxc", datapath.Denied, nil},
	{"somebody else, on another host", "2001:db8:a000:c13:1a9::1", "up0", datapath.Denied, nil},
	{"an address with the number of web that the sender gave itself", "2001:db8:a000:c12:1a8::77", "hxc", datapath.SpoofedSource, nil},
	{"the address of web, from another endpoint", walkWeb, "hxc", datapath.SpoofedSource, nil},
	{"an address of web on another host, from an endpoint here", farWeb, "hxc", datapath.SpoofedSource, nil},
	{"an address of this host's web, from the network", walkWeb, "up0", datapath.ForgedInside, nil},
	{"an address of another host's web, from a neighbour's MAC", farWeb, "up0", datapath.WrongHostMAC, otherMAC},
	{"the same by a link to the outside", farWeb, "up2", datapath.ForgedInside, nil},
	{"the number of web from a segment without a router", "2001:db8:a000:c99:1a8::1", "up1", datapath.ForgedInside, nil},
	{"the number of web, from a prefix of the fabric that no living host has", "2001:db8:a000:c99:1a8::1", "up0", datapath.Denied, otherMAC},
	{"the number of web in an address of a pool", "2001:db8:a000:d00:1a8::1", "up0", datapath.Denied, otherMAC},
	{"an address of a pool that web claimed", "2001:db8:a000:d00:1a8::1", "up0", datapath.Local, both(otherMAC, func(_ *datapath.Packet, b *policy.Believed) {
		b.Exact = map[netip.Addr]identity.Number{netip.MustParseAddr("2001:db8:a000:d00:1a8::1"): 0x1a8}
	})},
	{"the number of web from the outside", "3fff:7:0:0:1a8::1", "up0", datapath.Denied, otherMAC},
	{"a number whose labels have not come yet", "2001:db8:a000:c13:1aa::1", "up0", datapath.Denied, nil},
	{"web, with identityTrust: exact and no entry", farWeb, "up0", datapath.Denied, func(_ *datapath.Packet, b *policy.Believed) { b.Trust = identity.TrustExact }},
	{"a mark that says judged, from an endpoint", walkOther, "hxc", datapath.Denied, func(p *datapath.Packet, _ *policy.Believed) { p.Mark = datapath.MarkSet }},
	{"a mark that says judged, from the network", "3fff:7::1", "up0", datapath.Denied, both(otherMAC, func(p *datapath.Packet, _ *policy.Believed) { p.Mark = datapath.MarkSet })},
	{"the outside by NodePort or hostPort", "3fff:7::1", "up0", datapath.Denied, delivered(0)},
	{"the outside by NodePort or hostPort, published", "3fff:7::1", "up0", datapath.OtherWay, both(port443, delivered(0))},
	{"web by NodePort, proved when it came to the host", farWeb, "up0", datapath.OtherWay, delivered(datapath.MarkBelieved)},
	{"web by NodePort, proved by nobody", farWeb, "up0", datapath.ForgedInside, delivered(0)},
	{"web out of an SRv6 packet, proved by nobody", farWeb, "up0", datapath.ForgedInside, delivered(0)},
	{"the outside out of an SRv6 packet", "3fff:7::1", "up0", datapath.Denied, delivered(0)},
	{"a source that this host's own NAT gave: the host", worldSelf.Addr().String(), "up0", datapath.OtherWay, delivered(0)},
	{"the address of this host, from the network", worldSelf.Addr().String(), "up0", datapath.ForgedInside, otherMAC},
	{"a source that another host's NAT gave: that host, which is no web", "2001:db8:a000:c13:1::1", "up0", datapath.Denied, nil},
	{"a routing header", walkWeb, "hxb", datapath.RoutingHeader, func(p *datapath.Packet, _ *policy.Believed) { // RFC 8754
		p.Frame[20] = 43
		copy(p.Frame[54:], []byte{17, 0, 4, 0})
	}},
	{"a later fragment without the first", walkOther, "hxc", datapath.FragmentUnknown, func(p *datapath.Packet, _ *policy.Believed) {
		p.Frame[20] = 44
		copy(p.Frame[54:], []byte{17, 0, 0, 8})
	}},
	{"an error about no flow", walkOther, "hxc", datapath.UnrelatedError, func(p *datapath.Packet, _ *policy.Believed) {
		p.Frame[20] = 58
		copy(p.Frame[54:], []byte{1, 0, 0, 0})
	}},
}

// TestCannotBeWalkedAround sends one packet by each way, in a host that knows no flow, through the program and its twin.
func TestCannotBeWalkedAround(t *testing.T) {
	w := newWorld(t, 256)
	writer, err := (&Table{maps: &Maps{byName: w.maps}}).Policies()
	must(t, err)
	app := func(name string) policy.Workloads {
		return policy.Workloads{Namespace: "shop", Endpoints: policy.Selector{{Key: "app", Op: policy.In, Values: []string{name}}}}
	}
	web := app("web")
	db := &policy.Policy{Name: "NetworkPolicy shop/db", Tier: policy.Namespace, Subject: app("db"), Governs: [2]bool{policy.Ingress: true}}
	db.Rules[policy.Ingress] = []policy.Rule{
		{Name: "web", Peers: []policy.Peer{{Workloads: &web}}, Ports: []policy.Port{{Protocol: transport.UDP, First: 80, Last: 80}}},
		{Name: "published", Ports: []policy.Port{{Protocol: transport.UDP, First: 443, Last: 443}}},
	}
	set := func(name string) identity.Set {
		return identity.Set{Namespace: "shop", Labels: map[string]string{"app": name}}
	}
	world := &policy.World{Policies: []*policy.Policy{db}, CloseOutside: true, Identities: map[identity.Number]identity.Set{0x1a7: set("db"), 0x1a8: set("web"), 0x1a9: set("other")}}
	host := []netip.Addr{worldSelf.Addr()}
	subjects := map[netip.Addr]policy.Subject{}
	for a, name := range map[string]string{walkDB: "db", walkWeb: "web", walkOther: "other"} {
		subjects[netip.MustParseAddr(a)] = policy.Subject{Set: set(name), Host: host}
	}
	compiler := policy.NewCompiler(world)
	var lines []string
	for _, c := range walks {
		b := policy.Believed{Trust: identity.TrustBits, Exact: map[netip.Addr]identity.Number{}, Regions: map[netip.Prefix]policy.Form{
			worldFabric: policy.Silent, worldOwn: policy.Wide, worldPeer: policy.Wide, netip.MustParsePrefix("2001:db8:a000:d00::/64"): policy.Silent}}
		link := w.links[c.by]
		p := datapath.Packet{Place: datapath.FromEndpoint, Link: link, Came: link, Now: w.now}
		p.Frame = (&generator{w: w}).plain(tuple{src: netip.MustParseAddr(c.from), dst: netip.MustParseAddr(walkDB), srcPort: 999, dstPort: 80, proto: 17}, link)
		if strings.HasPrefix(c.by, "up") {
			p.Place = datapath.FromUplink
			copy(p.Frame[6:12], worldPeerMAC[:])
		}
		if c.turn != nil {
			c.turn(&p, &b)
		}
		if p.Place == datapath.ToEndpoint {
			p.Link = w.links["hxa"]
		}
		compiled, err := compiler.CompileAll(subjects, b)
		must(t, err)
		_, err = writer.Reconcile(compiled)
		must(t, err)
		must(t, w.forgetFlows())
		w.state.Policy = &datapath.Policy{Compiled: compiled, Who: compiled.Believed.Directory()}
		w.state.Settings.Generation = w.generation(t)
		twin := w.state.Judge(p)
		var got datapath.Outcome
		netnstest.Do(t, w.ns, func() (err error) {
			got, err = run(w.judge, p)
			return err
		})
		if got.Why != c.want || twin.Why != c.want {
			t.Errorf("%s: want %s, the program says %s, its twin %s", c.what, c.want, got.Why, twin.Why)
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s |", c.what, c.want, got.Why))
	}
	t.Logf("way, expected, seen:\n%s", strings.Join(lines, "\n"))
}

// forgetFlows empties the flow table of both forms.
func (w *world) forgetFlows() error {
	w.state.Flows = datapath.NewFlows(len(w.state.Flows.Rows), w.state.Flows.Seed)
	flows := w.maps["flows"]
	for row := range flows.MaxEntries() {
		if err := flows.Put(row, make([]byte, flows.ValueSize())); err != nil {
			return fmt.Errorf("empty row %d of the flow table: %w", row, err)
		}
	}
	return nil
}
