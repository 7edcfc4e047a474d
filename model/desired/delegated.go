package desired

import "net/netip"

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

// OnLink returns the prefix that this host shares with others on a link, in a list; nil when its prefix is its own.
func (s Snapshot) OnLink() []netip.Prefix {
	if !s.Config.Self.Shared() || !s.Config.Self.Prefix.IsValid() {
		return nil
	}
	return []netip.Prefix{s.Config.Self.Prefix}
}
