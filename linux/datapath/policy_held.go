package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
)

// Held answers a flow from what the maps hold, as the programs do. known is false for an address without tables: nothing passes.
func (p *Policies) Held(subject netip.Addr, f policy.Flow) (row int, a policy.Action, known bool, err error) {
	var s policySubject
	if err := p.m.byName["policy_subjects"].Lookup(subject.As16(), &s); errors.Is(err, ebpf.ErrKeyNotExist) {
		return -1, policy.Deny, false, nil
	} else if err != nil {
		return -1, policy.Deny, false, fmt.Errorf("read the policies of %s: %w", subject, err)
	}
	table := s.Ingress
	if f.Direction == policy.Egress {
		table = s.Egress
	}
	var im policy.Image
	if err := p.m.byName["policy_tables"].Lookup(table, &im); err != nil {
		return -1, policy.Deny, false, fmt.Errorf("read table %d of policy: %w", table, err)
	}
	number, outside, err := p.who(f.Other.Addr)
	if err != nil {
		return -1, policy.Deny, false, err
	}
	peers, ports := im.Anyone, im.AnyPort
	if outside {
		peers = peers.Or(im.Outside)
	}
	port := policyPort{Bits: 64, Table: table, Proto: uint16(f.Protocol)}
	binary.BigEndian.PutUint16(port.Port[:], f.Port)
	for _, l := range []struct {
		name string
		key  any
		into *policy.Bits
	}{
		{"policy_peers", policyPeer{table, number}, &peers},
		{"policy_prefixes", policyPrefix{160, table, f.Other.Addr.As16()}, &peers},
		{"policy_ports", port, &ports},
	} {
		var rows policy.Bits
		switch err := p.m.byName[l.name].Lookup(l.key, &rows); {
		case err == nil:
			*l.into = l.into.Or(rows)
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return -1, policy.Deny, false, fmt.Errorf("read map %s: %w", l.name, err)
		}
	}
	row, a = im.Decide(peers, ports)
	return row, a, true, nil
}

// who reads from the maps who has an address.
func (p *Policies) who(a netip.Addr) (number uint32, outside bool, err error) {
	err = p.m.byName["who_exact"].Lookup(a.As16(), &number)
	if err == nil {
		number, err = p.seen(number)
	}
	if err == nil || !errors.Is(err, ebpf.ErrKeyNotExist) {
		return number, false, err
	}
	var form uint32
	err = p.m.byName["who_regions"].Lookup(insideKey{Bits: 128, Addr: a.As16()}, &form)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return whoOutside, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read map who_regions: %w", err)
	}
	number, err = p.seen(p.believed.Read(policy.Form(form), a).Packed())
	return number, false, err
}

// seen is a number, or 0 if the maps do not know its labels. A wide one is known where it stands.
func (p *Policies) seen(number uint32) (uint32, error) {
	if number >= uint32(identity.FirstWide) {
		return number, nil
	}
	var word uint64
	if err := p.m.byName["who_known"].Lookup(number/64, &word); err != nil {
		return 0, fmt.Errorf("read map who_known: %w", err)
	}
	if word>>(number%64)&1 == 0 {
		return 0, nil
	}
	return number, nil
}

// whoOutside is WHO_OUTSIDE of bpf/include/who.h.
const whoOutside = 0xffffffff
