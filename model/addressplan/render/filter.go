package render

import (
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/prefix"
)

// filter writes nftables rules for routers that are Linux: at a spine the edge filter, at a ToR one filter per host port.
// Both look before routing, so what they drop has no effect at all.
func filter(v view, s Scope) ([]File, error) {
	if s.Rack != "" {
		return portFilter(v, s.Rack)
	}
	return edgeFilter(v)
}

// translators is the identity part of the addresses by which translators of hosts reach each other (addressplan.Parts).
const translators = "::3:0:0:0"

// edgeFilter drops what comes from outside with a source inside (RFC 2827 turned around, RFC 9099 section 2.1.5): an address is
// believed to say who sends because nothing from outside gets in with it. Sources that carry IPv4 addresses, and those of pools, come from
// translators inside alone. Segment routing from outside is dropped as well (RFC 8402 section 8.2), and what claims to come from a translator.
func edgeFilter(v view) ([]File, error) {
	if len(v.opts.Outside) == 0 {
		return nil, errNoOutside
	}
	owned, err := v.owned()
	if err != nil {
		return nil, err
	}
	inside := prefix.NewSet(append(slices.Clone(owned), v.opts.translated(true)...)...).Prefixes()
	t := &text{}
	t.line("# Edge filter of fabric %s: nothing from outside has a source inside.", v.plan.Name)
	t.line("# Load it on every router with a port that leaves the fabric: nft -f edge.nft")
	t.line("table ip6 hexapod_edge\ndelete table ip6 hexapod_edge\ntable ip6 hexapod_edge {")
	t.line("\tset inside {\n\t\ttype ipv6_addr\n\t\tflags interval\n\t\telements = { %s }\n\t}\n", joined(inside, ",\n\t\t\t"))
	t.line("\tchain from_outside {\n\t\ttype filter hook prerouting priority raw; policy accept;")
	t.line("\t\tiifname != { \"%s\" } accept", strings.Join(v.opts.Outside, "\", \""))
	t.line("\t\tip6 saddr @inside counter drop comment \"inside source from outside\"")
	t.line("\t\trt type 4 counter drop comment \"segment routing from outside\"")
	if mask, value, ok := locatorBits(v.plan.Lengths.Host); ok {
		t.line("\t\tip6 daddr %s ip6 daddr & %s == %s counter drop comment \"locators of hosts\"", v.plan.Prefix, mask, value)
		t.line("\t\tip6 daddr %s ip6 daddr & %s == %s counter drop comment \"translators of hosts\"", v.plan.Prefix, mask, translators)
	}
	t.line("\t}\n}")
	if pool := v.opts.translated(false); len(pool) > 0 {
		t.line("table ip hexapod_edge\ndelete table ip hexapod_edge\ntable ip hexapod_edge {")
		t.line("\tset pool {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { %s }\n\t}\n", joined(prefix.NewSet(pool...).Prefixes(), ",\n\t\t\t"))
		t.line("\tchain from_outside {\n\t\ttype filter hook prerouting priority raw; policy accept;")
		t.line("\t\tiifname { \"%s\" } ip saddr @pool counter drop comment \"translated source from outside\"\n\t}\n}", strings.Join(v.opts.Outside, "\", \""))
	}
	return []File{{"edge.nft", t.String()}}, nil
}

// locatorBits returns the 16 bits that hold the identity in a host prefix of that length, and their value in a locator.
func locatorBits(host int) (mask, value netip.Addr, ok bool) {
	parts, err := addressplan.PartsOf(netip.PrefixFrom(netip.IPv6Unspecified(), host))
	if err != nil || host < 64 || !parts.Locator.IsValid() {
		return mask, value, false
	}
	// The last of all prefixes of that length has every bit of the identity set.
	at := netip.PrefixFrom(netip.IPv6Unspecified(), parts.Locator.Bits()-16)
	last, err := prefix.Child(at, parts.Locator.Bits(), 0xffff)
	return last.Addr(), parts.Locator.Addr(), err == nil
}

// portFilter lets through at each host port what that host may send from: its own prefix, link-local addresses, and the
// addresses that move between the hosts of its cluster, which carry no identity.
func portFilter(v view, ref string) ([]File, error) {
	r, err := v.rack(ref)
	if err != nil {
		return nil, err
	}
	moving := append(slices.Clone(r.moving), r.pref64...) // answers of IPv4 servers come from a translator's host
	t := &text{}
	t.line("# Port filter of rack %s: a host sends from its own prefix alone.", r.name())
	t.line("# Load it on the ToR: nft -f ports.nft")
	t.line("table ip6 hexapod_ports\ndelete table ip6 hexapod_ports\ntable ip6 hexapod_ports {")
	t.line("\tset moving {\n\t\ttype ipv6_addr\n\t\tflags interval")
	if len(moving) > 0 {
		t.line("\t\telements = { %s }", joined(prefix.NewSet(moving...).Prefixes(), ",\n\t\t\t"))
	}
	t.line("\t}\n\n\tchain from_hosts {\n\t\ttype filter hook prerouting priority raw; policy accept;")
	for _, h := range r.hosts {
		t.line("\t\tiifname \"%s\" ip6 saddr != { ::, fe80::/10, %s } ip6 saddr != @moving counter drop comment \"foreign source at %s\"", h.port, h.prefix, short(h.name))
	}
	t.line("\t}\n}")
	return []File{{"ports.nft", t.String()}}, nil
}

// short keeps a comment below nftables' 128 bytes.
func short(name string) string {
	if len(name) > 100 {
		return name[:100]
	}
	return name
}

func joined(ps []netip.Prefix, sep string) string {
	var words []string
	for _, p := range ps {
		words = append(words, p.String())
	}
	return strings.Join(words, sep)
}
