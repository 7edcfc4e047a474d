package nat64

import (
	"iter"
	"net/netip"
	"testing"

	"hexapod.dev/model/xlat/nat64"
)

// What an owner told is kept, within a limit, until its end is told or it was not told for long; whose blocks are is written down.
func TestKept(t *testing.T) {
	var log []Record
	k := newKept(func(r Record) { log = append(log, r) })
	k.most = 3
	other := netip.MustParseAddr("2001:db8:1::6")
	binding := func(endpoint netip.Addr, port uint16) nat64.Copy {
		return nat64.Copy{Protocol: 6, Endpoint: netip.AddrPortFrom(endpoint, port), Pool: netip.AddrPortFrom(poolAddr, port)}
	}
	logged := func(what string, want ...Record) {
		t.Helper()
		if len(log) != len(want) {
			t.Fatalf("%s: logged %+v", what, log)
		}
		for i, r := range want {
			if log[i].Event != r.Event || log[i].Gateway != r.Gateway || log[i].Endpoint != r.Endpoint || log[i].First != r.First {
				t.Errorf("%s: logged %+v, want %+v", what, log[i], r)
			}
		}
		log = nil
	}
	first, next := nat64.Block{Addr: poolAddr, First: 2048}, nat64.Block{Addr: poolAddr, First: 3072}
	k.add("g2", binding(endpointAddr, 2048), 1)
	k.add("g2", binding(endpointAddr, 2049), 1)
	k.add("g2", binding(endpointAddr, 2048), 5)
	logged("a block", record(EventGranted, "g2", first, endpointAddr))
	k.add("g2", binding(other, 3072), 1)
	logged("another one", record(EventGranted, "g2", next, other))
	k.add("g2", binding(other, 3073), 1)
	k.add("g2", binding(other, 80), 1)
	if k.len() != 3 {
		t.Errorf("%d are kept, want 3", k.len())
	}
	k.add("g3", binding(endpointAddr, 2048), 6)
	logged("another owner", record(EventGranted, "g3", first, endpointAddr))
	k.forget(1 + keptFor + 1)
	logged("one that was not told", record(EventReturned, "g2", next, other))
	k.drop(binding(endpointAddr, 2049))
	logged("not the last one")
	k.drop(binding(endpointAddr, 2048))
	k.drop(binding(endpointAddr, 2048))
	logged("the last one", record(EventReturned, "g3", first, endpointAddr))
	if k.len() != 0 || len(k.blocks) != 0 {
		t.Errorf("%d are left, and %d blocks", k.len(), len(k.blocks))
	}

	before := binding(endpointAddr, 2048)
	before.Endpoint = netip.AddrPortFrom(other, 7)
	k.add("g2", before, 1)
	k.add("g2", binding(endpointAddr, 2048), 2)
	k.drop(before) // it ended long ago
	if k.len() != 1 || len(k.blocks) != 1 {
		t.Errorf("a port that has another binding than before: %d are kept, and %d blocks", k.len(), len(k.blocks))
	}
	k.add("g2", binding(other, 3072), 1)
	log = nil
	blocks := nat64.NewBlocks(nat64.Pool{Addrs: []netip.Addr{poolAddr}, Gateways: []string{"g1"}}, "g1", 1, func(nat64.Grant) {})
	n := k.take(poolAddr, func(list iter.Seq[nat64.Copy]) (n int) {
		for c := range list {
			if c.Endpoint.Addr() == endpointAddr && blocks.Resume(nat64.Grant{Block: first, Endpoint: endpointAddr}) {
				n++
			}
		}
		return n
	}, blocks)
	logged("one that does not go on", record(EventReturned, "g2", next, other))
	if n != 1 || k.len() != 0 || len(k.blocks) != 0 {
		t.Errorf("%d go on, %d are left, and %d blocks", n, k.len(), len(k.blocks))
	}
}

// A gateway that was not the one to know when bindings ended goes on with those that were told last.
func TestKeptIsTakenByAge(t *testing.T) {
	k := newKept(func(Record) {})
	k.most = 100
	for n := range 50 {
		at := nat64.Seconds(n * 37 % 50)
		k.add("g2", nat64.Copy{Protocol: 6, Endpoint: netip.AddrPortFrom(endpointAddr, uint16(at)), Pool: netip.AddrPortFrom(poolAddr, 2048+uint16(n))}, at)
	}
	blocks := nat64.NewBlocks(nat64.Pool{Addrs: []netip.Addr{poolAddr}, Gateways: []string{"g1"}}, "g1", 1, func(nat64.Grant) {})
	var told []uint16
	k.take(poolAddr, func(list iter.Seq[nat64.Copy]) (n int) {
		for c := range list {
			told = append(told, c.Endpoint.Port())
		}
		return n
	}, blocks)
	for i, at := range told {
		if int(at) != 49-i {
			t.Fatalf("bindings are taken in the order in which they were told at %v", told)
		}
	}
	if len(told) != 50 {
		t.Errorf("%d of 50 are taken", len(told))
	}
}
