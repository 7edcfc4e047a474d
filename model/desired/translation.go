package desired

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/gateway"
)

// TranslationLink is the device whose packets the translator reads and writes. It does not begin as links of endpoints do: the guard of the
// datapath would take what comes from it for an endpoint's.
const TranslationLink = "pref64"

// Translation is how this host translates between IPv6 and IPv4.
type Translation struct {
	Name     string
	Prefixes []netip.Prefix // Pref64, the first is what endpoints see servers by
	Pool     []netip.Addr   // IPv4 addresses of this host alone, or of its group, which are led to the translator
	Ports    Ports          // instead of a pool: of the address that this host itself is known by
	Clients  []netip.Prefix // who may use it
	Announce bool           // prefixes and pool are told by BGP
	Group    *Gateways      // that go on for each other; nil: this host is alone
	Tell     []string       // links on which the prefixes are told in router advertisements
	Private  []netip.Prefix // IPv4 ranges that are not global and may be reached
	Blocks   int            // quota of an endpoint, in blocks of ports
	Bindings int            // of all endpoints together
}

// Upstream is a NAT64 that others run and this host uses.
type Upstream struct {
	Name     string         // of the Translation that says so
	Prefixes []netip.Prefix // that it has, as far as is known now
	Past     []netip.Prefix // that it had: they are told to be over
	Tell     []string       // links on which both are told in router advertisements
}

// Ports is a range of ports, both ends included; zero is none.
type Ports struct{ First, Last uint16 }

// OwnAddress reports whether endpoints are seen by the address that the host itself is known by.
func (t *Translation) OwnAddress() bool { return t.Ports != Ports{} }

// Gateways are the hosts that translate with one pool, and go on for each other.
type Gateways struct {
	Members []gateway.Member // this host among them
	Self    netip.Addr       // where this host's translator is reached by the others
	Keys    []gateway.Key    // of what they tell each other; the first signs
	Ranks   []int            // of each address of the pool: how many gateways are to have it before this one
}

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
	addrs := t.Pool // of a group all: what comes for another gateway is handed to it
	if t.Group != nil {
		addrs = append(slices.Clone(addrs), t.Group.Self)
	}
	for _, a := range addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		st.Routes[p] = Route{Dst: p, Link: TranslationLink}
	}
}
