package desired

import (
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/section"
	"hexapod.dev/model/service"
)

// Snapshot is everything the sources of one host say at one moment, one section per source. It never changes once made.
type Snapshot struct {
	Config    Config
	Endpoints section.Map[EndpointKey, Endpoint]
	Facts     Facts
	Delegated Delegated
	Services  section.Map[service.Name, service.Source]
	Place     service.Place // where this host stands, for services
	Policies  Policies

	Translating bool // the translator of this host runs and knows what Config.Translation says
}

// Policies is what policies speak of, and who has which address besides the endpoints of this host.
type Policies struct {
	World    *policy.World // nil: none are in force
	Believed policy.Believed
	Entries  map[netip.Addr]identity.Number // who has addresses that do not say it, as others were told; of this host's own it knows more
	Revision int64                          // of Entries
	Written  map[string]string              // where each policy was written, by its name
}

// Config is what the configuration says, seen from one host.
type Config struct {
	Fabric      netip.Prefix // every address of the fabric
	Self        Host         // this host
	Peers       []Host       // the other hosts of the fabric
	Pools       []Pool
	Translation *Translation // nil: this host does not translate
	Upstream    *Upstream    // that it uses instead; nil: none

	BigTCP   bool // super-packets may be as large as the uplinks take them
	LargeMTU bool // packets between endpoints of this host may be larger than the uplinks take them

	Learns bool // routes to hosts that no uplink is told to lead to come from a router of the fabric
}

// Host is what every host knows of one host.
type Host struct {
	Name    string
	Prefix  netip.Prefix // of its endpoints, routed to it unless it is shared; invalid when it has none yet
	IPv4    netip.Prefix // its second prefix; invalid in a fabric without IPv4
	MAC     MAC          // zero when not told
	Uplinks []Uplink
	Addrs   []netip.Addr // of the host itself, on whatever links; may be empty
	Retired bool         // gone for good; its prefix rests
}

// Shared reports whether the host's prefix lies on a link where others have addresses in it too: nobody routes it to the host, and
// who is on the link finds its endpoints by neighbour discovery.
func (h Host) Shared() bool {
	return slices.ContainsFunc(h.Uplinks, func(u Uplink) bool { return u.Shared })
}

// Uplink is an interface of a host towards others.
type Uplink struct {
	Name     string     // interface name
	Address  netip.Addr // how neighbours on the segment reach this host; invalid when not told
	Gateway  netip.Addr // next hop for what no segment reaches; invalid when there is none
	Segment  string     // uplinks of one segment reach each other directly
	External bool       // the outside lies behind it
	Answer   bool       // neighbours there look for this host's addresses, which nobody routes to it
	Shared   bool       // others have addresses in the same prefix
}

// Pool is a range of fixed addresses, granted to namespaces.
type Pool struct {
	Name       string
	Prefix     netip.Prefix
	Namespaces []string
}

// Endpoint is one attached interface of one workload.
type Endpoint struct {
	Key       EndpointKey
	NetNS     string // path of its network namespace
	Network   string // name of the network configuration it was attached by
	Addrs     []netip.Addr
	Namespace string // whose it is, as the runtime named it; empty when it did not say
	Name      string
	UID       string
	Identity  uint32 // number of its identity; 0: not known yet
	Bandwidth Bandwidth
}

// Facts are what the kernel tells about links this host does not make itself, by name.
type Facts map[string]LinkFact

// LinkFact is one link as the kernel has it.
type LinkFact struct {
	Up       bool
	MTU      int
	Segments int // the largest super-packet that the device cuts into segments (tso_max_size)
	MAC      MAC
	Addrs    []netip.Prefix // IPv6 addresses of global scope that others set, each with the length of its on-link prefix, sorted
}

func (l LinkFact) equal(m LinkFact) bool {
	return l.Up == m.Up && l.MTU == m.MTU && l.Segments == m.Segments && l.MAC == m.MAC && slices.Equal(l.Addrs, m.Addrs)
}

// Equal reports whether both say the same, so that an event without news causes no work.
func (f Facts) Equal(g Facts) bool {
	if len(f) != len(g) {
		return false
	}
	for name, a := range f {
		if b, ok := g[name]; !ok || !a.equal(b) {
			return false
		}
	}
	return true
}

// With returns facts in which name has the fact l, or none if it is not present. f stays as it is.
func (f Facts) With(name string, l LinkFact, present bool) Facts {
	g := maps.Clone(f)
	if g == nil {
		g = Facts{}
	}
	if present {
		g[name] = l
	} else {
		delete(g, name)
	}
	return g
}
