package desired

import (
	"net/netip"
	"slices"
)

// Delegated is what a server on an uplink gave this host to have (DHCPv6 prefix delegation), where the configuration gives it no
// prefix.
type Delegated struct {
	Prefix   netip.Prefix   // of new endpoints; invalid: there is none now
	Draining []netip.Prefix // others that are routed here still: endpoints live on in them, and no new one comes
}

// HostPrefix returns the prefix of new endpoints of this host: that of the configuration, or else the delegated one. It is invalid
// when there is none.
func (s Snapshot) HostPrefix() netip.Prefix {
	if s.Config.Self.Prefix.IsValid() {
		return s.Config.Self.Prefix
	}
	return s.Delegated.Prefix
}

// Own returns every prefix that is routed to this host, that of new endpoints first. One that is shared on a link is nobody's own.
func (s Snapshot) Own() []netip.Prefix {
	if s.Config.Self.Shared() {
		return nil
	}
	var list []netip.Prefix
	if p := s.HostPrefix(); p.IsValid() {
		list = append(list, p)
	}
	if s.Config.Self.Prefix.IsValid() {
		return list
	}
	return append(list, s.Delegated.Draining...)
}

// Homes returns the prefixes in which this host has an address for itself: its own. When the last delegated one has ended and no other came,
// those in which endpoints live on: nobody else reaches them any more, and the host has nothing else to speak to them from.
func (s Snapshot) Homes() []netip.Prefix {
	homes := s.Own()
	if len(homes) > 0 || s.Config.Self.Prefix.IsValid() {
		return homes
	}
	for _, e := range s.Endpoints.All() {
		for _, a := range e.Addrs {
			home := netip.PrefixFrom(a, 64).Masked() // delegated prefixes are no longer than that, and all addresses of one lie in its first /64
			pooled := slices.ContainsFunc(s.Config.Pools, func(p Pool) bool { return p.Prefix.Contains(a) })
			if a.Is6() && !pooled && !slices.Contains(homes, home) {
				homes = append(homes, home)
			}
		}
	}
	slices.SortFunc(homes, netip.Prefix.Compare) // the endpoints come in any order, and the kernel speaks from the first
	return homes
}

// OnLink returns the prefix that this host shares with others on a link, in a list; nil when its prefix is its own.
func (s Snapshot) OnLink() []netip.Prefix {
	if !s.Config.Self.Shared() || !s.Config.Self.Prefix.IsValid() {
		return nil
	}
	return []netip.Prefix{s.Config.Self.Prefix}
}

// HostAddrs lists the addresses that this host sends from, whatever they are for.
func (s Snapshot) HostAddrs() (out []netip.Addr) {
	add := func(addr netip.Addr) {
		if addr.IsValid() && !addr.IsLinkLocalUnicast() {
			out = append(out, addr)
		}
	}
	for _, addr := range s.Config.Self.Addrs {
		add(addr)
	}
	for _, u := range s.Uplinks() {
		add(u.Address)
		for _, p := range s.Facts[u.Name].Addrs {
			add(p.Addr())
		}
	}
	for _, home := range s.Homes() {
		add(RouterAddr(home))
	}
	return out
}
