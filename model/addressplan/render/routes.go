package render

import (
	"fmt"
	"net/netip"
)

// match is one line of a prefix list: prefix, and the lengths from ge to le that it stands for. Both zero: exactly itself.
type match struct {
	prefix netip.Prefix
	ge, le int
}

func exactly(ps ...netip.Prefix) []match {
	var ms []match
	for _, p := range ps {
		ms = append(ms, match{prefix: p})
	}
	return ms
}

// bgpPeer is one session, in terms that every routing daemon has.
type bgpPeer struct {
	name  string // of the session
	port  string
	about string // what is at the other end
	asn   uint32 // 0: whatever the other side says, but not ours
	in    []match
	out   []match
	limit int  // prefixes that may be received
	upper bool // the other side is the upper one and has fe80::1
}

// bgpRouter is one router, in terms that every routing daemon has.
type bgpRouter struct {
	name     string
	about    string
	asn      uint32
	routerID netip.Addr
	loopback netip.Addr     // invalid: none
	discard  []netip.Prefix // owned and announced; unused addresses of them end here
	peers    []bgpPeer
}

var defaultRoute = netip.MustParsePrefix("::/0")

// single returns matches for the addresses that may sit on any host of the rack's cluster, and its Pref64.
func (r rackView) single() []match {
	var ms []match
	for _, q := range r.moving {
		ms = append(ms, match{q, 128, 128})
	}
	if r.pref64.IsValid() {
		ms = append(ms, match{prefix: r.pref64})
	}
	return ms
}

// Limits of prefixes per session: a host has one prefix and its VIPs, a rack those of its hosts, an upper router what is taken
// from it and some more before it counts as broken.
const (
	hostLimit    = 1024
	rackLimit    = 16384
	outsideLimit = 16
)

// router returns the router that a scope means.
func (v view) router(s Scope) (bgpRouter, error) {
	switch {
	case s.Host != "":
		return v.hostRouter(s.Host)
	case s.Rack != "":
		return v.tor(s.Rack)
	}
	return v.spine(s.Spine)
}

// downwards is what a lower router needs to hear: the way out, and the fabric where there is no way out.
func (v view) downwards() ([]match, error) {
	owned, err := v.owned()
	if err != nil {
		return nil, err
	}
	return exactly(append([]netip.Prefix{defaultRoute}, owned...)...), nil
}

func (v view) hostRouter(name string) (bgpRouter, error) {
	h, r, err := v.host(name)
	if err != nil {
		return bgpRouter{}, err
	}
	down, err := v.downwards()
	if err != nil {
		return bgpRouter{}, err
	}
	b := bgpRouter{name: h.name, about: fmt.Sprintf("host %s in rack %s: %s", h.name, r.name(), h.prefix), asn: h.asn, routerID: h.routerID,
		loopback: h.parts.Router, discard: []netip.Prefix{h.prefix}}
	for _, link := range v.opts.Uplinks {
		b.peers = append(b.peers, bgpPeer{name: "tor-" + link, port: link, about: "ToR of rack " + r.name(), asn: r.asn, upper: true,
			in: down, out: append(exactly(h.prefix), r.single()...), limit: outsideLimit + len(down)})
	}
	return b, needID(b.routerID, name)
}

func (v view) tor(ref string) (bgpRouter, error) {
	r, err := v.rack(ref)
	if err != nil {
		return bgpRouter{}, err
	}
	spine, err := v.spineASN()
	if err != nil {
		return bgpRouter{}, err
	}
	down, err := v.downwards()
	if err != nil {
		return bgpRouter{}, err
	}
	b := bgpRouter{name: "tor-" + r.cluster.Name + "-" + r.rack.Name, about: fmt.Sprintf("ToR of rack %s: %s", r.name(), r.prefix), asn: r.asn,
		routerID: r.routerID, loopback: r.loopback, discard: []netip.Prefix{r.prefix}}
	for _, h := range r.hosts {
		b.peers = append(b.peers, bgpPeer{name: h.name, port: h.port, about: "host " + h.name, asn: r.hostASN,
			in: append(exactly(h.prefix), r.single()...), out: down, limit: hostLimit})
	}
	up := append(exactly(r.prefix), exactly(r.adopted()...)...)
	up = append(up, r.single()...)
	if r.loopback.IsValid() {
		up = append(up, match{prefix: netip.PrefixFrom(r.loopback, 128)})
	}
	for i, port := range v.opts.SpinePorts {
		b.peers = append(b.peers, bgpPeer{name: fmt.Sprintf("spine-%d", i+1), port: port, about: "spine", asn: spine, upper: true, in: down, out: up, limit: outsideLimit + len(down)})
	}
	return b, needID(b.routerID, r.name())
}

func (v view) spine(n uint32) (bgpRouter, error) {
	asn, err := v.spineASN()
	if err != nil {
		return bgpRouter{}, err
	}
	id, err := v.plan.SpineRouterID(n)
	if err != nil {
		return bgpRouter{}, err
	}
	racks, err := v.racks()
	if err != nil {
		return bgpRouter{}, err
	}
	owned, err := v.owned()
	if err != nil {
		return bgpRouter{}, err
	}
	down := exactly(append([]netip.Prefix{defaultRoute}, owned...)...)
	b := bgpRouter{name: fmt.Sprintf("spine-%d", n), about: fmt.Sprintf("spine %d of fabric %s: %s", n, v.plan.Name, v.plan.Prefix), asn: asn, routerID: id, discard: owned}
	if len(v.plan.Clusters) > 0 {
		if a, err := v.plan.SpineLoopback(v.plan.Clusters[0], n); err == nil {
			b.loopback = a
		}
	}
	for _, r := range racks {
		in := append(exactly(r.prefix), exactly(r.adopted()...)...)
		in = append(in, r.single()...)
		if r.loopback.IsValid() {
			in = append(in, match{prefix: netip.PrefixFrom(r.loopback, 128)})
		}
		b.peers = append(b.peers, bgpPeer{name: "tor-" + r.cluster.Name + "-" + r.rack.Name, port: r.port, about: "ToR of rack " + r.name(), asn: r.asn,
			in: in, out: down, limit: rackLimit})
	}
	for _, port := range v.opts.Outside {
		// The way out alone: a neighbour that announces parts of the fabric would take its traffic.
		b.peers = append(b.peers, bgpPeer{name: "outside-" + port, port: port, about: "outside", in: exactly(defaultRoute), out: exactly(owned...), limit: outsideLimit, upper: true})
	}
	return b, nil
}
