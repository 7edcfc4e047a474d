package desired

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Text writes the state as an operator would see it in the answers of ip(8), every part under the command that shows it.
func (st State) Text() string {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }

	line("# ip -6 route show proto 206")
	families := map[bool][]netip.Prefix{}
	for _, dst := range slices.SortedFunc(maps.Keys(st.Routes), netip.Prefix.Compare) {
		families[dst.Addr().Is4()] = append(families[dst.Addr().Is4()], dst)
	}
	for _, dst := range families[false] {
		line("%s", st.Routes[dst])
	}
	if len(families[true]) > 0 {
		line("# ip -4 route show proto 206")
	}
	for _, dst := range families[true] {
		line("%s", st.Routes[dst])
	}
	line("# ip -6 neigh show nud permanent")
	for _, n := range slices.SortedFunc(maps.Values(st.Neighbours), func(a, b Neighbour) int { return a.Addr.Compare(b.Addr) }) {
		line("%s", n)
	}
	line("# ip -6 addr show dev lo")
	for _, a := range st.Addresses {
		line("inet6 %s/128", a)
	}
	line("# ip link")
	for _, l := range slices.SortedFunc(maps.Values(st.Links), func(a, b Link) int { return cmp.Compare(a.Name, b.Name) }) {
		line("%s", l)
	}
	line("# sysctl")
	for _, u := range st.Uplinks {
		line("net.ipv6.conf.%s.accept_ra = 2", u)
	}
	if st.IPv4 {
		line("net.ipv4.ip_forward = 1")
	}
	line("# not done")
	for _, u := range st.Undone {
		line("%s %s: %s", u.Kind, u.Name, u.Why)
	}
	return b.String()
}

// String writes r as `ip -6 route` does.
func (r Route) String() string {
	dst := r.Dst.String()
	if r.Dst.IsSingleIP() {
		dst = r.Dst.Addr().String()
	}
	switch {
	case r.Discard:
		return "unreachable " + dst
	case r.Via.IsValid() && r.Dst.Addr().Is4():
		return fmt.Sprintf("%s via inet6 %s dev %s", dst, r.Via, r.Link)
	case r.Via.IsValid():
		return fmt.Sprintf("%s via %s dev %s", dst, r.Via, r.Link)
	}
	return fmt.Sprintf("%s dev %s", dst, r.Link)
}

// String writes n as `ip -6 neigh` does.
func (n Neighbour) String() string {
	return fmt.Sprintf("%s dev %s lladdr %s PERMANENT", n.Addr, n.Link, n.MAC)
}

// String writes l in the words of `ip -d link` and `ip addr`: the host side, then the side inside the endpoint.
func (l Link) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s link/ether %s alias %s link-netns %s", l.Name, l.HostMAC, LinkAlias(l.Key), l.NetNS)
	if mtu := l.LinkMTU(); mtu != 0 {
		fmt.Fprintf(&b, " mtu %d", mtu)
	}
	if l.Big() {
		fmt.Fprintf(&b, " gso_max_size %d gro_max_size %d", l.Segments, l.Segments)
	}
	fmt.Fprintf(&b, " peer %s link/ether %s", l.Key.Interface, l.MAC)
	for _, a := range l.Addrs {
		if a.Is4() {
			fmt.Fprintf(&b, " inet %s/32", a)
			continue
		}
		fmt.Fprintf(&b, " inet6 %s/128", a)
	}
	for _, r := range []struct {
		way  string
		rate Rate
	}{{"ingress", l.Bandwidth.Ingress}, {"egress", l.Bandwidth.Egress}} {
		if r.rate.Bits > 0 {
			fmt.Fprintf(&b, " %s rate %dbit", r.way, r.rate.Bits)
		}
	}
	return b.String()
}
