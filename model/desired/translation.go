package desired

import "net/netip"

// TranslationLink is the device whose packets the translator reads and writes. It does not begin as links of endpoints do: the guard of the
// datapath would take what comes from it for an endpoint's.
const TranslationLink = "pref64"

// Translation is how this host translates between IPv6 and IPv4.
type Translation struct {
	Name     string
	Prefixes []netip.Prefix // Pref64, the first is what endpoints see servers by
	Pool     []netip.Addr   // IPv4 addresses of this host alone, which are led to the translator
	Ports    Ports          // instead of a pool: of the address that this host itself is known by
	Clients  []netip.Prefix // who may use it
	Announce bool           // prefixes and pool are told by BGP
	Tell     []string       // links on which the prefixes are told in router advertisements
	Private  []netip.Prefix // IPv4 ranges that are not global and may be reached
	Blocks   int            // quota of an endpoint, in blocks of ports
	Bindings int            // of all endpoints together
}

// Ports is a range of ports, both ends included; zero is none.
type Ports struct{ First, Last uint16 }

// OwnAddress reports whether endpoints are seen by the address that the host itself is known by.
func (t *Translation) OwnAddress() bool { return t.Ports != Ports{} }

// addTranslation leads what is to be translated to the translator: addresses that carry IPv4 ones, and answers to the pool. A host whose
// translator is not there yet has the routes of others for them, if any. What arrives for endpoints at the host's own address meets no route.
func (st *State) addTranslation(s Snapshot) {
	t := s.Config.Translation
	switch {
	case t == nil:
		return
	case len(t.Pool) == 0 && !t.OwnAddress():
		st.undone("nat64", t.Name, NoPool)
		return
	case s.Config.Self.Retired || !s.Translating:
		return
	}
	st.IPv4 = st.IPv4 || !t.OwnAddress() // what arrives at its own address needs no route on
	for _, p := range t.Prefixes {
		st.Routes[p] = Route{Dst: p, Link: TranslationLink}
	}
	for _, a := range t.Pool {
		p := netip.PrefixFrom(a, a.BitLen())
		st.Routes[p] = Route{Dst: p, Link: TranslationLink}
	}
}
