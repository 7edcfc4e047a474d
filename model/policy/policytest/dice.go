// Package policytest throws random worlds of policies and random flows, for tests that compare two forms of one decision.
package policytest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

// Dice makes worlds that are so small that rules meet all the time.
type Dice struct{ *rand.Rand }

// number is one of the identities of a world, by its place: the last of 20 do not fit into addresses.
func number(i int) identity.Number {
	const narrow = 16
	if i < narrow {
		return identity.FirstWorkload + identity.Number(i)
	}
	return identity.FirstWide + identity.Number(i-narrow)
}

// Number is one that a world may have labels for, or one that none has.
func (r Dice) Number() identity.Number { return number(r.IntN(21)) }

func (r Dice) one(of ...string) string { return of[r.IntN(len(of))] }

func (r Dice) labels() map[string]string {
	labels := map[string]string{}
	for _, k := range []string{"app", "tier", "zone"} {
		if r.IntN(3) > 0 {
			labels[k] = r.one("a", "b", "c")
		}
	}
	return labels
}

func (r Dice) selector() policy.Selector {
	var s policy.Selector
	for range r.IntN(3) {
		q := policy.Requirement{Key: r.one("app", "tier", "zone"), Op: policy.Operator(r.IntN(4))}
		if q.Op == policy.In || q.Op == policy.NotIn {
			q.Values = []string{r.one("a", "b"), r.one("b", "c")}
		}
		s = append(s, q)
	}
	return s
}

func (r Dice) namespace() string { return r.one("web", "shop", "ops") }

func (r Dice) workloads() policy.Workloads {
	w := policy.Workloads{Namespace: r.namespace(), Endpoints: r.selector()}
	if r.IntN(2) == 0 {
		s := r.selector()
		w.Namespaces = &s
	}
	return w
}

// Addr is one of 256 addresses, IPv4 or IPv6, in two prefixes each.
func (r Dice) Addr() netip.Addr {
	n := byte(r.IntN(64))
	switch r.IntN(4) {
	case 0:
		return netip.AddrFrom4([4]byte{192, 0, 2, n})
	case 1:
		return netip.AddrFrom4([4]byte{198, 51, 100, n})
	case 2:
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: n})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, 15: n})
}

// Block is a prefix around such addresses, less some.
func (r Dice) Block() policy.Block {
	cut := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()-r.IntN(9)).Masked() }
	a := r.Addr()
	b := policy.Block{Prefix: cut(a)}
	if r.IntN(8) == 0 {
		b.Prefix = netip.PrefixFrom(a, 0).Masked()
	}
	for range r.IntN(3) {
		if e := cut(r.Addr()); b.Prefix.Contains(e.Addr()) {
			b.Except = append(b.Except, e)
		}
	}
	return b
}

func (r Dice) protocol() transport.Protocol {
	return []transport.Protocol{transport.TCP, transport.UDP, transport.SCTP}[r.IntN(3)]
}

func (r Dice) ports() []policy.Port {
	var ports []policy.Port
	for range r.IntN(4) {
		p := policy.Port{Protocol: r.protocol()}
		switch first := uint16(r.IntN(8)); r.IntN(4) {
		case 0:
			p.Name = r.one("http", "dns")
		case 1:
			p.First, p.Last = 0, 65535
		case 2:
			p.First, p.Last = first, first+uint16(r.IntN(4))
		default:
			p.First, p.Last = first, first
		}
		ports = append(ports, p)
	}
	return ports
}

func (r Dice) rules(t policy.Tier, d policy.Direction) []policy.Rule {
	var rules []policy.Rule
	for i := range r.IntN(4) {
		rule := policy.Rule{Name: fmt.Sprintf("%s %d", d, i), Ports: r.ports()}
		if t != policy.Namespace {
			rule.Action = policy.Action(r.IntN(3))
		}
		for range r.IntN(4) {
			switch r.IntN(4) {
			case 0:
				s := r.selector()
				rule.Peers = append(rule.Peers, policy.Peer{Hosts: &s})
			case 1:
				rule.Peers = append(rule.Peers, policy.Peer{Networks: []policy.Block{r.Block(), r.Block()}})
			default:
				w := r.workloads()
				rule.Peers = append(rule.Peers, policy.Peer{Workloads: &w})
			}
		}
		rules = append(rules, rule)
	}
	return rules
}

func (r Dice) named() []policy.NamedPort {
	var ports []policy.NamedPort
	for range r.IntN(3) {
		ports = append(ports, policy.NamedPort{Name: r.one("http", "dns"), Protocol: r.protocol(), Port: uint16(r.IntN(8))})
	}
	return ports
}

// World is everything policies speak of.
func (r Dice) World() *policy.World {
	w := &policy.World{
		Identities:   map[identity.Number]identity.Set{},
		Namespaces:   map[string]map[string]string{"web": r.labels(), "shop": r.labels()}, // nobody described ops
		Named:        map[identity.Number][]policy.NamedPort{},
		CloseOutside: r.IntN(2) == 0, UnknownInside: r.IntN(2) == 0,
	}
	for i := range 20 {
		w.Identities[number(i)] = identity.Set{Namespace: r.namespace(), Labels: r.labels()}
		w.Named[number(i)] = r.named()
	}
	for i := range 3 {
		w.Hosts = append(w.Hosts, policy.Host{Name: fmt.Sprint(i), Labels: r.labels(), Addrs: []netip.Addr{r.Addr(), r.Addr()}})
	}
	for i := range r.IntN(12) {
		w.Policies = append(w.Policies, r.policy(i))
	}
	for i := range r.IntN(3) {
		w.Published = append(w.Published, policy.Publication{Name: fmt.Sprintf("Service %d", i), Subject: r.workloads(), Ports: r.ports()})
	}
	return w
}

func (r Dice) policy(i int) *policy.Policy {
	t := policy.Tier(r.IntN(3))
	p := &policy.Policy{Name: fmt.Sprintf("%s %02d", t, i), Tier: t, Priority: r.IntN(3), Subject: r.workloads()}
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		p.Governs[d] = r.IntN(3) > 0
		p.Rules[d] = r.rules(t, d)
	}
	return p
}

// After is a world in which a little has changed: policies and identities came or went, seldom more.
func (r Dice) After(old *policy.World) *policy.World {
	w := *old
	w.Policies, w.Identities, w.Named = slices.Clone(old.Policies), maps.Clone(old.Identities), maps.Clone(old.Named)
	if n := len(w.Policies); n > 0 && r.IntN(2) == 0 {
		w.Policies = slices.Delete(w.Policies, n-1, n)
	}
	for range r.IntN(3) {
		w.Policies = append(w.Policies, r.policy(len(w.Policies)))
	}
	for range r.IntN(4) {
		n := number(r.IntN(20))
		if _, there := w.Identities[n]; there {
			delete(w.Identities, n)
			delete(w.Named, n)
			continue
		}
		w.Identities[n], w.Named[n] = identity.Set{Namespace: r.namespace(), Labels: r.labels()}, r.named()
	}
	switch r.IntN(12) {
	case 0:
		w.CloseOutside = !w.CloseOutside
	case 1:
		w.Namespaces = map[string]map[string]string{"web": r.labels(), "shop": r.labels()}
	case 2:
		w.Hosts = append(slices.Clone(w.Hosts), policy.Host{Name: "late", Labels: r.labels(), Addrs: []netip.Addr{r.Addr()}})
	case 3:
		w.Published = append(slices.Clone(w.Published), policy.Publication{Name: "Service late", Subject: r.workloads(), Ports: r.ports()})
	}
	return &w
}

// Subject is an endpoint of a world.
func (r Dice) Subject(w *policy.World) *policy.Subject {
	n := number(r.IntN(20))
	return &policy.Subject{Number: n, Set: w.Identities[n], Named: w.Named[n], Host: w.Hosts[0].Addrs}
}

// Flow is one of few that worlds have rules for. Numbers that no world knows are Unknown, as a directory says it.
func (r Dice) Flow() policy.Flow {
	f := policy.Flow{Direction: policy.Direction(r.IntN(2)), Other: policy.Other{Addr: r.Addr()}, Protocol: r.protocol(), Port: uint16(r.IntN(12))}
	if r.IntN(6) == 0 {
		f.Protocol, f.Port = 58, 0 // ICMPv6
	}
	switch r.IntN(4) {
	case 0:
		f.Other.Who.By = identity.Outside
	case 1:
		f.Other.Who = identity.Answer{Number: identity.Number(r.IntN(3)), By: identity.ByBits} // unknown, host, locator
	default:
		f.Other.Who = identity.Answer{Number: number(r.IntN(20)), By: identity.ByEntry}
	}
	return f
}
