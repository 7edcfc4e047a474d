package render

import (
	"fmt"
	"net/netip"

	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/prefix"
)

// RouterPeer is one session, in terms that every routing daemon has.
type RouterPeer struct {
	Name  string // of the session
	Port  string
	About string         // what is at the other end
	ASN   uint32         // 0: whatever the other side says, but not ours
	In    []prefix.Match // what is taken
	Out   []prefix.Match // what is told
	Limit int            // prefixes that may be received
	Upper bool           // the other side is the upper one and has fe80::1
}

// Router is one router of the fabric, in terms that every routing daemon has.
type Router struct {
	Name     string
	About    string
	ASN      uint32
	RouterID netip.Addr
	Loopback netip.Addr     // invalid: none
	Discard  []netip.Prefix // owned and announced; unused addresses of them end here
	Members  []netip.Prefix // what those stand for: the prefixes of hosts at a ToR, of racks at a spine
	Peers    []RouterPeer
}

// RouterOf returns the router that a scope means: a host, the ToR of a rack, or a spine.
func RouterOf(p addressplan.Plan, s Scope, o Options) (Router, error) {
	if bad := addressplan.Errors(p.Check()); len(bad) > 0 {
		return Router{}, fmt.Errorf("router of %s: the plan has errors: %s", s, bad[0])
	}
	return view{p, o.withDefaults()}.router(s)
}

// Write writes a router for a routing daemon, FRR or BIRD.
func (r Router) Write(t Target) (File, error) {
	switch t {
	case FRR:
		return frrFile(r), nil
	case BIRD:
		return birdFile(r), nil
	}
	return File{}, fmt.Errorf("write router %s for %q: want %s or %s", r.Name, t, FRR, BIRD)
}

var defaultRoute = netip.MustParsePrefix("::/0")

// single returns matches for the addresses that may sit on any host of the rack's cluster, and prefixes that carry IPv4 addresses.
func (r rackView) single() []prefix.Match {
	var ms []prefix.Match
	for _, q := range r.moving {
		ms = append(ms, prefix.Match{Prefix: q, Min: 128, Max: 128})
	}
	return append(ms, prefix.Exactly(r.pref64...)...)
}

// Limits of prefixes per session: a host has one prefix and its VIPs, a rack those of its hosts, an upper router what is taken
// from it and some more before it counts as broken.
const (
	hostLimit    = 1024
	rackLimit    = 16384
	outsideLimit = 16
)

// router returns the router that a scope means.
func (v view) router(s Scope) (Router, error) {
	switch {
	case s.Host != "":
		return v.hostRouter(s.Host)
	case s.Rack != "":
		return v.tor(s.Rack)
	}
	return v.spine(s.Spine)
}

// downwards is what a lower router needs to hear: the way out, and the fabric where there is no way out.
func (v view) downwards() ([]prefix.Match, error) {
	owned, err := v.owned()
	if err != nil {
		return nil, err
	}
	return prefix.Exactly(append([]netip.Prefix{defaultRoute}, owned...)...), nil
}

func (v view) hostRouter(name string) (Router, error) {
	h, r, err := v.host(name)
	if err != nil {
		return Router{}, err
	}
	down, err := v.downwards()
	if err != nil {
		return Router{}, err
	}
	b := Router{Name: h.name, About: fmt.Sprintf("host %s in rack %s: %s", h.name, r.name(), h.prefix), ASN: h.asn, RouterID: h.routerID,
		Loopback: h.parts.Router, Discard: []netip.Prefix{h.prefix}}
	for _, link := range v.opts.Uplinks {
		b.Peers = append(b.Peers, RouterPeer{Name: "tor-" + link, Port: link, About: "ToR of rack " + r.name(), ASN: r.asn, Upper: true,
			In: down, Out: append(prefix.Exactly(h.prefix), r.single()...), Limit: outsideLimit + len(down)})
	}
	return b, needID(b.RouterID, name)
}

func (v view) tor(ref string) (Router, error) {
	r, err := v.rack(ref)
	if err != nil {
		return Router{}, err
	}
	spine, err := v.spineASN()
	if err != nil {
		return Router{}, err
	}
	down, err := v.downwards()
	if err != nil {
		return Router{}, err
	}
	b := Router{Name: "tor-" + r.cluster.Name + "-" + r.rack.Name, About: fmt.Sprintf("ToR of rack %s: %s", r.name(), r.prefix), ASN: r.asn,
		RouterID: r.routerID, Loopback: r.loopback, Discard: []netip.Prefix{r.prefix}}
	for _, h := range r.hosts {
		b.Members = append(b.Members, h.prefix)
		b.Peers = append(b.Peers, RouterPeer{Name: h.name, Port: h.port, About: "host " + h.name, ASN: r.hostASN,
			In: append(prefix.Exactly(h.prefix), r.single()...), Out: down, Limit: hostLimit})
	}
	up := append(prefix.Exactly(r.prefix), prefix.Exactly(r.adopted()...)...)
	up = append(up, r.single()...)
	if r.loopback.IsValid() {
		up = append(up, prefix.Match{Prefix: netip.PrefixFrom(r.loopback, 128)})
	}
	for i, port := range v.opts.SpinePorts {
		b.Peers = append(b.Peers, RouterPeer{Name: fmt.Sprintf("spine-%d", i+1), Port: port, About: "spine", ASN: spine, Upper: true, In: down, Out: up, Limit: outsideLimit + len(down)})
	}
	return b, needID(b.RouterID, r.name())
}

func (v view) spine(n uint32) (Router, error) {
	asn, err := v.spineASN()
	if err != nil {
		return Router{}, err
	}
	id, err := v.plan.SpineRouterID(n)
	if err != nil {
		return Router{}, err
	}
	racks, err := v.racks()
	if err != nil {
		return Router{}, err
	}
	owned, err := v.owned()
	if err != nil {
		return Router{}, err
	}
	down := prefix.Exactly(append([]netip.Prefix{defaultRoute}, owned...)...)
	b := Router{Name: fmt.Sprintf("spine-%d", n), About: fmt.Sprintf("spine %d of fabric %s: %s", n, v.plan.Name, v.plan.Prefix), ASN: asn, RouterID: id, Discard: owned}
	if len(v.plan.Clusters) > 0 {
		if a, err := v.plan.SpineLoopback(v.plan.Clusters[0], n); err == nil {
			b.Loopback = a
		}
	}
	for _, r := range racks {
		b.Members = append(b.Members, r.prefix)
		in := append(prefix.Exactly(r.prefix), prefix.Exactly(r.adopted()...)...)
		in = append(in, r.single()...)
		if r.loopback.IsValid() {
			in = append(in, prefix.Match{Prefix: netip.PrefixFrom(r.loopback, 128)})
		}
		b.Peers = append(b.Peers, RouterPeer{Name: "tor-" + r.cluster.Name + "-" + r.rack.Name, Port: r.port, About: "ToR of rack " + r.name(), ASN: r.asn,
			In: in, Out: down, Limit: rackLimit})
	}
	for _, port := range v.opts.Outside {
		// The way out alone: a neighbour that announces parts of the fabric would take its traffic.
		b.Peers = append(b.Peers, RouterPeer{Name: "outside-" + port, Port: port, About: "outside", In: prefix.Exactly(defaultRoute), Out: prefix.Exactly(owned...), Limit: outsideLimit, Upper: true})
	}
	return b, nil
}
