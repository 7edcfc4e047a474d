package render

import "fmt"

// frr writes the integrated configuration of FRR (vtysh): unnumbered sessions, a prefix list for each direction of each.
func frr(v view, s Scope) ([]File, error) {
	r, err := v.router(s)
	if err != nil {
		return nil, err
	}
	t := &text{}
	t.line("! %s", r.about)
	t.line("! Ports carry no addresses but link-local ones; the upper side of each has fe80::1.")
	t.line("frr defaults datacenter\nhostname %s\nipv6 forwarding\nservice integrated-vtysh-config\n!", r.name)
	if r.loopback.IsValid() {
		t.line("interface lo\n ipv6 address %s/128\nexit\n!", r.loopback)
	}
	for _, p := range r.peers {
		t.line("interface %s\n description %s", p.port, p.about)
		if !p.upper {
			t.line(" ipv6 address fe80::1/64")
		}
		// Lifetime 0: sessions find each other by advertisements, the way out comes by BGP (RFC 4861 section 6.2.3).
		t.line(" no ipv6 nd suppress-ra\n ipv6 nd ra-interval 10\n ipv6 nd ra-lifetime 0\nexit\n!")
	}
	for _, q := range r.discard {
		t.line("ipv6 route %s blackhole 250", q) // distance 250: any learned route wins
	}
	t.line("!")
	for _, p := range r.peers {
		frrList(t, p.name+"-in", p.in)
		frrList(t, p.name+"-out", p.out)
	}
	t.line("router bgp %d\n bgp router-id %s\n bgp graceful-restart\n no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax", r.asn, r.routerID)
	for _, p := range r.peers {
		remote := "external"
		if p.asn != 0 {
			remote = fmt.Sprint(p.asn)
		}
		t.line(" neighbor %s interface remote-as %s\n neighbor %s description %s", p.port, remote, p.port, p.about)
	}
	t.line(" address-family ipv6 unicast")
	for _, q := range r.discard {
		t.line("  network %s", q)
	}
	if r.loopback.IsValid() {
		t.line("  network %s/128", r.loopback)
	}
	for _, p := range r.peers {
		t.line("  neighbor %s activate\n  neighbor %s prefix-list %s-in in\n  neighbor %s prefix-list %s-out out\n  neighbor %s maximum-prefix %d",
			p.port, p.port, p.name, p.port, p.name, p.port, p.limit)
	}
	t.line(" exit-address-family\nexit\n!")
	return []File{{"frr.conf", t.String()}}, nil
}

func frrList(t *text, name string, ms []match) {
	for i, m := range ms {
		lengths := ""
		if m.ge != 0 && m.ge > m.prefix.Bits() {
			lengths += fmt.Sprintf(" ge %d", m.ge)
		}
		if m.le != 0 && m.le > m.prefix.Bits() {
			lengths += fmt.Sprintf(" le %d", m.le)
		}
		t.line("ipv6 prefix-list %s seq %d permit %s%s", name, 10*(i+1), m.prefix, lengths)
	}
	t.line("ipv6 prefix-list %s seq %d deny any\n!", name, 10*(len(ms)+1))
}
