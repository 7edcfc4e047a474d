package render

import (
	"fmt"

	"hexapod.dev/model/prefix"
)

// frr writes the integrated configuration of FRR (vtysh): unnumbered sessions, a prefix list for each direction of each.
func frr(v view, s Scope) ([]File, error) {
	r, err := v.router(s)
	if err != nil {
		return nil, err
	}
	return []File{frrFile(r)}, nil
}

func frrFile(r Router) File {
	t := &text{}
	t.line("! %s", r.About)
	t.line("! Ports carry no addresses but link-local ones; the upper side of each has fe80::1.")
	t.line("frr defaults datacenter\nhostname %s\nipv6 forwarding\nservice integrated-vtysh-config\n!", r.Name)
	if r.Loopback.IsValid() {
		t.line("interface lo\n ipv6 address %s/128\nexit\n!", r.Loopback)
	}
	for _, p := range r.Peers {
		t.line("interface %s\n description %s", p.Port, p.About)
		if !p.Upper {
			t.line(" ipv6 address fe80::1/64")
		}
		// Lifetime 0: sessions find each other by advertisements, the way out comes by BGP (RFC 4861 section 6.2.3).
		t.line(" no ipv6 nd suppress-ra\n ipv6 nd ra-interval 10\n ipv6 nd ra-lifetime 0\nexit\n!")
	}
	for _, q := range r.Discard {
		t.line("ipv6 route %s blackhole 250", q) // distance 250: any learned route wins
	}
	t.line("!")
	for _, p := range r.Peers {
		frrList(t, p.Name+"-in", p.In)
		frrList(t, p.Name+"-out", p.Out)
	}
	t.line("router bgp %d\n bgp router-id %s\n bgp graceful-restart\n no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax", r.ASN, r.RouterID)
	for _, p := range r.Peers {
		t.line(" neighbor %s interface\n neighbor %s description %s", p.Port, p.Port, p.About)
	}
	t.line(" address-family ipv6 unicast")
	for _, q := range r.Discard {
		t.line("  network %s", q)
	}
	if r.Loopback.IsValid() {
		t.line("  network %s/128", r.Loopback)
	}
	for _, p := range r.Peers {
		t.line("  neighbor %s activate\n  neighbor %s prefix-list %s-in in\n  neighbor %s prefix-list %s-out out\n  neighbor %s maximum-prefix %d",
			p.Port, p.Port, p.Name, p.Port, p.Name, p.Port, p.Limit)
	}
	t.line(" exit-address-family")
	// Last of all: with its number a session begins, and is not to begin without its filters. Both sides begin at once and may end
	// each other's first attempt, so the next one is soon.
	for _, p := range r.Peers {
		remote := "external"
		if p.ASN != 0 {
			remote = fmt.Sprint(p.ASN)
		}
		t.line(" neighbor %s timers connect 1\n neighbor %s remote-as %s", p.Port, p.Port, remote)
	}
	t.line("exit\n!")
	return File{"frr.conf", t.String()}
}

func frrList(t *text, name string, ms []prefix.Match) {
	for i, m := range ms {
		lengths := ""
		if m.Min != 0 && m.Min > m.Prefix.Bits() {
			lengths += fmt.Sprintf(" ge %d", m.Min)
		}
		if m.Max != 0 && m.Max > m.Prefix.Bits() {
			lengths += fmt.Sprintf(" le %d", m.Max)
		}
		t.line("ipv6 prefix-list %s seq %d permit %s%s", name, 10*(i+1), m.Prefix, lengths)
	}
	t.line("ipv6 prefix-list %s seq %d deny any\n!", name, 10*(len(ms)+1))
}
