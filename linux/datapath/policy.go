package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/diff"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
)

// Shapes of bpf/include/policy.h and who.h.
type (
	policyPeer   struct{ Table, Number uint32 }
	policyPrefix struct {
		Bits, Table uint32
		Addr        [16]byte
	}
	policyPort struct {
		Bits, Table uint32
		Proto       uint16
		Port        [2]byte
	}
	policySubject struct{ Ingress, Egress uint32 }
	sealValue     struct {
		Used uint32
		Keys [27]uint32
	}
)

// Policies keeps the tables of policy in the maps. A table is written whole under a number that no other had, then endpoints are
// switched to it; so every packet meets one whole policy, the one before or the one after. It is for one goroutine.
type Policies struct {
	m      *Maps
	tables map[*policy.Table]*writtenTable // by this process
	next   uint32
	fresh  bool // all tables of the maps are known: they were written by this process

	believed policy.Believed // that was put in force last
	known    *policy.Numbers // whose rows the maps have; nil: not read yet
	owes     bool            // something was changed that living flows are not judged by yet
}

// writtenTable is a table as the maps have it.
type writtenTable struct {
	number     uint32
	identities policy.Numbers // it has rows of
}

// Policies returns the writer. It takes over nothing: the tables of an earlier process are replaced by the first Reconcile.
func (t *Table) Policies() (*Policies, error) {
	p := &Policies{m: t.maps, tables: map[*policy.Table]*writtenTable{}, next: 1}
	have, err := held[uint32, policy.Image](t.maps.byName["policy_tables"])
	if err != nil {
		return nil, err
	}
	for n := range have {
		p.next = max(p.next, n+1)
	}
	return p, nil
}

// Reconcile makes the maps hold c and puts it in force: from then on living flows are judged by it too. changed counts entries of
// maps; nothing is written when nothing changed.
func (p *Policies) Reconcile(c policy.Compiled) (delta diff.Delta[string], err error) {
	defer func() {
		if err != nil {
			p.tables, p.fresh = map[*policy.Table]*writtenTable{}, false // it is not known what the maps have: all is written anew
			err = fmt.Errorf("put policies in force: %w", err)
		}
	}()
	used, err := p.replace(c, &delta)
	// What was switched counts for living flows, whatever became of the rest.
	p.owes = p.owes || !delta.Empty()
	if p.owes {
		cut := p.m.NextGeneration()
		p.owes = cut != nil
		err = errors.Join(err, cut)
	}
	if err != nil {
		return delta, err
	}
	return delta, p.forget(used, &delta)
}

// replace makes the maps hold c, but for tables that nobody has any more, and returns those that somebody has.
func (p *Policies) replace(c policy.Compiled, delta *diff.Delta[string]) (used map[*policy.Table]bool, err error) {
	if err := p.readKnown(); err != nil {
		return nil, err
	}
	var known, came, stay policy.Numbers // came, or went
	for i := range known {
		known[i] = ^uint64(0)
		if c.Believed.Known != nil {
			known[i] = c.Believed.Known[i]
		}
		came[i], stay[i] = p.known[i]^known[i], p.known[i]&known[i]
	}
	// A number is known no longer than the tables have rows for it: before them it is forgotten, and known after.
	if err := p.know(&stay, delta); err != nil {
		return nil, err
	}
	if err := p.believe(c.Believed, delta); err != nil {
		return nil, err
	}
	p.believed = c.Believed
	used = map[*policy.Table]bool{}
	subjects := make(map[[16]byte]policySubject, len(c.Subjects))
	for a, tables := range c.Subjects {
		s, err := p.number(tables, delta)
		if err != nil {
			return nil, err
		}
		subjects[a.As16()] = s
		used[tables[policy.Ingress]], used[tables[policy.Egress]] = true, true
	}
	if err := p.follow(used, &came); err != nil {
		return nil, err
	}
	err = reconcileMap(p.m.byName["policy_subjects"], subjects, func(k [16]byte) string { return "subject " + netip.AddrFrom16(k).Unmap().String() }, delta)
	if err != nil {
		return nil, err
	}
	if err := p.sayWide(c.Believed, &known, delta); err != nil {
		return nil, err
	}
	if err := p.know(&known, delta); err != nil {
		return nil, err
	}
	return used, p.m.setFlag(settingPolicy, true)
}

// Ensure gives one more endpoint its tables, before its first packet, and says who it is where its address does not. Flows of others are
// not judged anew.
func (p *Policies) Ensure(addr netip.Addr, tables [2]*policy.Table, exact *identity.Number) error {
	var delta diff.Delta[string]
	err := p.m.remove("who_exact", addr.As16(), "number of "+addr.String()) // of somebody who had the address before
	if exact != nil {
		err = p.m.put("who_exact", addr.As16(), said(*exact, p.known), "number of "+addr.String())
	}
	if err != nil {
		return err
	}
	s, err := p.number(tables, &delta)
	if err != nil {
		return err
	}
	return p.m.put("policy_subjects", addr.As16(), s, "subject "+addr.String())
}

// Remove forgets the tables of an endpoint. A missing one is no error.
func (p *Policies) Remove(addr netip.Addr) error {
	return errors.Join(
		p.m.remove("policy_subjects", addr.As16(), "subject "+addr.String()),
		p.m.remove("who_exact", addr.As16(), "number of "+addr.String()),
	)
}

// number writes the tables of a subject unless they are there, and returns their numbers.
func (p *Policies) number(tables [2]*policy.Table, delta *diff.Delta[string]) (s policySubject, err error) {
	for d, to := range map[policy.Direction]*uint32{policy.Ingress: &s.Ingress, policy.Egress: &s.Egress} {
		w, there := p.tables[tables[d]]
		if !there {
			w = &writtenTable{number: p.next}
			p.next++
			if err := p.write(w, tables[d]); err != nil {
				return s, errors.Join(err, p.erase(w, tables[d]))
			}
			p.tables[tables[d]] = w
			delta.Add = append(delta.Add, fmt.Sprintf("table %d", w.number))
		}
		*to = w.number
	}
	return s, nil
}

// write writes a table. Its head comes last: without it the table denies everything.
func (p *Policies) write(w *writtenTable, t *policy.Table) error {
	im, err := t.Image()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("table %d of policy", w.number)
	identities := t.Identities()
	keys, values := make([]policyPeer, 0, len(identities)), make([]policy.Bits, 0, len(identities))
	for id, rows := range identities {
		keys, values = append(keys, policyPeer{w.number, id.Packed()}), append(values, rows)
		w.identities.Add(id)
	}
	if len(keys) > 0 {
		if _, err := p.m.byName["policy_peers"].BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("write %s to map policy_peers: %w", what, err)
		}
	}
	for k, rows := range prefixesOf(w.number, t) {
		if err := p.m.put("policy_prefixes", k, rows, what); err != nil {
			return err
		}
	}
	for k, rows := range portsOf(w.number, t) {
		if err := p.m.put("policy_ports", k, rows, what); err != nil {
			return err
		}
	}
	return p.m.put("policy_tables", w.number, im, what)
}

// prefixesOf are the rows of a table that match by address, as the map has them.
func prefixesOf(n uint32, t *policy.Table) map[policyPrefix]policy.Bits {
	out := map[policyPrefix]policy.Bits{}
	for _, q := range t.MappedPrefixes() {
		out[policyPrefix{Bits: uint32(32 + q.Prefix.Bits()), Table: n, Addr: q.Prefix.Addr().As16()}] = q.Rows
	}
	return out
}

// portsOf are the rows of a table that match by port, as the map has them.
func portsOf(n uint32, t *policy.Table) map[policyPort]policy.Bits {
	out := map[policyPort]policy.Bits{}
	for _, r := range t.Ports {
		for _, c := range r.Cut() {
			k := policyPort{Bits: uint32(48 + c.Bits), Table: n, Proto: uint16(c.Protocol)}
			binary.BigEndian.PutUint16(k.Port[:], c.Port)
			out[k] = r.Rows
		}
	}
	return out
}

// follow brings the tables that stay to what they say of identities that came or went. Nobody is known by these numbers meanwhile.
func (p *Policies) follow(used map[*policy.Table]bool, came *policy.Numbers) error {
	for n := range came.All() {
		for t, w := range p.tables {
			rows := t.RowsOf(n)
			k := policyPeer{w.number, n.Packed()}
			switch {
			case !used[t]:
			case rows != policy.Bits{}:
				if err := p.m.put("policy_peers", k, rows, fmt.Sprintf("identity %d of table %d of policy", n, w.number)); err != nil {
					return err
				}
				w.identities.Add(n)
			case w.identities.Has(n):
				if err := p.m.remove("policy_peers", k, fmt.Sprintf("identity %d of table %d of policy", n, w.number)); err != nil {
					return err
				}
				w.identities.Remove(n)
			}
		}
	}
	return nil
}

// forget removes tables that no endpoint has.
func (p *Policies) forget(used map[*policy.Table]bool, delta *diff.Delta[string]) error {
	var errs []error
	for t, w := range p.tables {
		if !used[t] {
			delete(p.tables, t)
			delta.Remove = append(delta.Remove, fmt.Sprintf("table %d", w.number))
			errs = append(errs, p.erase(w, t))
		}
	}
	if !p.fresh { // of an earlier process, or of a write that failed
		kept := map[uint32]bool{}
		for _, w := range p.tables {
			kept[w.number] = true
		}
		errs = append(errs, p.eraseOthers(kept))
	}
	err := errors.Join(errs...)
	p.fresh = err == nil
	return err
}

// erase removes everything that a table has in the maps, its head first.
func (p *Policies) erase(w *writtenTable, t *policy.Table) error {
	what := fmt.Sprintf("table %d of policy", w.number)
	errs := []error{p.m.remove("policy_tables", w.number, what)}
	for n := range w.identities.All() {
		errs = append(errs, p.m.remove("policy_peers", policyPeer{w.number, n.Packed()}, what))
	}
	for k := range prefixesOf(w.number, t) {
		errs = append(errs, p.m.remove("policy_prefixes", k, what))
	}
	for k := range portsOf(w.number, t) {
		errs = append(errs, p.m.remove("policy_ports", k, what))
	}
	return errors.Join(errs...)
}

// eraseOthers removes from the maps all tables but some, heads first.
func (p *Policies) eraseOthers(kept map[uint32]bool) error {
	return errors.Join(
		drop[policy.Image](p.m.byName["policy_tables"], func(n uint32) bool { return !kept[n] }),
		drop[policy.Bits](p.m.byName["policy_peers"], func(k policyPeer) bool { return !kept[k.Table] }),
		drop[policy.Bits](p.m.byName["policy_prefixes"], func(k policyPrefix) bool { return !kept[k.Table] }),
		drop[policy.Bits](p.m.byName["policy_ports"], func(k policyPort) bool { return !kept[k.Table] }),
	)
}

// believe makes the maps say who has which address, as far as their numbers are known.
func (p *Policies) believe(b policy.Believed, delta *diff.Delta[string]) error {
	exact := make(map[[16]byte]uint32, len(b.Exact))
	for a, n := range b.Exact {
		exact[a.As16()] = said(n, p.known)
	}
	regions := map[insideKey]uint32{}
	if b.Trust != identity.TrustExact {
		for q, f := range b.Regions {
			regions[mappedKey(q)] = uint32(f)
		}
	}
	var seal sealValue
	if b.Seal != nil {
		seal.Used = 1
		copy(seal.Keys[:], b.Seal.RoundKeys())
	}
	if err := p.m.put("who_seal", uint32(0), seal, "the seal"); err != nil {
		return err
	}
	return errors.Join(
		reconcileMap(p.m.byName["who_exact"], exact, func(k [16]byte) string { return "number of " + netip.AddrFrom16(k).Unmap().String() }, delta),
		reconcileMap(p.m.byName["who_regions"], regions, func(k insideKey) string {
			return "region " + netip.PrefixFrom(netip.AddrFrom16(k.Addr), int(k.Bits)).String()
		}, delta),
	)
}

// said is a number as the exact entry of an address has it. A wide one stands there only while it is known, since there is no map that
// programs could ask for it.
func said(n identity.Number, known *policy.Numbers) uint32 {
	if n.Wide() && (known == nil || !known.Has(n)) {
		n = identity.Unknown
	}
	return n.Packed()
}

// sayWide makes exact entries say the wide numbers that are known from now on.
func (p *Policies) sayWide(b policy.Believed, known *policy.Numbers, delta *diff.Delta[string]) error {
	for a, n := range b.Exact {
		if said(n, p.known) == said(n, known) {
			continue
		}
		if err := p.m.put("who_exact", a.As16(), said(n, known), "number of "+a.String()); err != nil {
			return err
		}
		delta.Change = append(delta.Change, "number of "+a.String())
	}
	return nil
}

// readKnown finds the numbers that the maps know, as an earlier process left them: wide ones are those that exact entries say.
func (p *Policies) readKnown() error {
	if p.known != nil {
		return nil
	}
	var known policy.Numbers
	for i := range policy.NarrowWords {
		if err := p.m.byName["who_known"].Lookup(uint32(i), &known[i]); err != nil {
			return fmt.Errorf("read map who_known: %w", err)
		}
	}
	exact, err := held[[16]byte, uint32](p.m.byName["who_exact"])
	if err != nil {
		return err
	}
	for _, packed := range exact {
		if n := identity.Unpack(packed); n.Wide() {
			known.Add(n)
		}
	}
	p.known = &known
	return nil
}

// know makes the maps know the numbers of want. What they know of wide ones is in exact entries.
func (p *Policies) know(want *policy.Numbers, delta *diff.Delta[string]) error {
	changed := false
	for i, w := range want[:policy.NarrowWords] {
		if w == p.known[i] {
			continue
		}
		if err := p.m.put("who_known", uint32(i), w, "known numbers"); err != nil {
			return err
		}
		p.known[i], changed = w, true
	}
	copy(p.known[policy.NarrowWords:], want[policy.NarrowWords:])
	if changed {
		delta.Change = append(delta.Change, "known numbers")
	}
	return nil
}

// mappedKey is the key of a prefix, IPv4 as ::ffff:0:0/96 (RFC 4291 2.5.5.2).
func mappedKey(q netip.Prefix) insideKey {
	k := insideKey{Bits: uint32(q.Bits()), Addr: q.Masked().Addr().As16()}
	if q.Addr().Is4() {
		k.Bits += 96
	}
	return k
}

// held reads a whole map.
func held[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	out := map[K]V{}
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		out[k] = v
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read a map of policy: %w", err)
	}
	return out, nil
}

// drop removes the entries of a map whose keys are gone.
func drop[V any, K comparable](m *ebpf.Map, gone func(K) bool) error {
	have, err := held[K, V](m)
	if err != nil {
		return err
	}
	var errs []error
	for k := range have {
		if !gone(k) {
			continue
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("remove from a map of policy: %w", err))
		}
	}
	return errors.Join(errs...)
}
