package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/transport"
	"hexapod.dev/model/xlat"
)

// World is everything policies speak of. It is not changed after it was given to Judge or NewCompiler.
type World struct {
	Policies   []*Policy
	Identities map[identity.Number]identity.Set
	Namespaces map[string]map[string]string // labels of each namespace by its name
	Hosts      []Host
	Named      map[identity.Number][]NamedPort // ports that the endpoints of an identity have names for

	Carried []xlat.Pref64 // NAT64 prefixes in which IPv4 networks of Policies hold as well (Policy.CarryIPv4)

	Published    []Publication
	CloseOutside bool // nobody outside reaches an endpoint that is not published

	// UnknownInside judges who is inside, and known by no labels, as inside. Else they are as good as outside.
	UnknownInside bool
}

// Host is a host that rules can name, with every address it sends from.
type Host struct {
	Name   string
	Labels map[string]string
	Addrs  []netip.Addr
}

// NamedPort is a port that endpoints have a name for.
type NamedPort struct {
	Name     string
	Protocol transport.Protocol
	Port     uint16
}

// Publication opens ports of some endpoints to everybody, where no policy says otherwise.
type Publication struct {
	Name    string // `Service shop/web`
	Subject Workloads
	Ports   []Port
}

// Subject is the endpoint whose policies are asked: one of this host.
type Subject struct {
	Number identity.Number
	Set    identity.Set // all its labels, also those that are no part of its identity
	Named  []NamedPort
	Host   []netip.Addr // the addresses of its own host, which may always probe it
}

// key is equal for subjects that have equal tables.
func (s *Subject) key() string { return fmt.Sprintf("%s\x00%v\x00%v", s.Set, s.Named, s.Host) }

// Other is the other end of a flow: its address, and who the Directory says it is.
type Other struct {
	Addr netip.Addr
	Who  identity.Answer
}

// Flow is what the first packet of a flow shows, seen from the subject.
type Flow struct {
	Direction Direction
	Other     Other
	Protocol  transport.Protocol
	Port      uint16 // of the destination; 0 where the protocol has none
}

// unknown reports whether the address is inside, and nobody here knows the labels of who has it: it has no number yet, or one that
// came here before its labels did. Rules that deny by labels take such a one for one of theirs, as it may be; no other rule by labels does.
func (w *World) unknown(o Other) bool {
	if o.Who.By == identity.Outside || o.Who.Number == identity.Host || o.Who.Number == identity.Locator {
		return false
	}
	_, known := w.Identities[o.Who.Number]
	return !known
}

// outside reports whether who has an address is judged as outside.
func (w *World) outside(o Other) bool {
	return o.Who.By == identity.Outside || !w.UnknownInside && w.unknown(o)
}

// nameLabel is the label that Kubernetes gives every namespace: its own name.
const nameLabel = "kubernetes.io/metadata.name"

// selectsNamespace reports whether w selects endpoints of a namespace. One that nobody described has its name for a label.
func (w *World) selectsNamespace(s Workloads, name string) bool {
	if s.Namespaces == nil {
		return s.Namespace == name
	}
	labels, known := w.Namespaces[name]
	if !known {
		labels = map[string]string{nameLabel: name}
	}
	return s.Namespaces.Matches(labels)
}

// selects reports whether s selects an endpoint with these labels.
func (w *World) selects(s Workloads, set identity.Set) bool {
	return w.selectsNamespace(s, set.Namespace) && s.Endpoints.Matches(set.Labels)
}

// contains reports whether the block holds an address.
func (b Block) contains(a netip.Addr) bool {
	if !b.Prefix.Contains(a) {
		return false
	}
	for _, e := range b.Except {
		if e.Contains(a) {
			return false
		}
	}
	return true
}

// inOrder returns the policies of a tier in the order in which they are asked.
func (w *World) inOrder(t Tier) []*Policy {
	var in []*Policy
	for _, p := range w.Policies {
		if p.Tier == t {
			in = append(in, p)
		}
	}
	order := func(a, b *Policy) int {
		if c := cmp.Compare(a.Priority, b.Priority); c != 0 && t != Namespace {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	}
	if !slices.IsSortedFunc(in, order) {
		slices.SortFunc(in, order)
	}
	return in
}

// title names a rule in a verdict.
func (p *Policy) title(r *Rule) string { return p.Name + ", " + r.Name }
