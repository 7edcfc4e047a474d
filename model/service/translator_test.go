package service_test

import (
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

var web = service.Key{Addr: netip.MustParseAddr("2001:db8:f::1"), Port: 80, Protocol: transport.TCP}

func TestTranslate(t *testing.T) {
	var tr service.Translator
	tr.Set(web, service.Entry{ID: 1, Table: service.Next(nil, backends(1, 3))})
	if a, b := tr.Translate(service.Call{Key: web}); a != service.Translate || !b.IsValid() {
		t.Errorf("%s %s", a, b)
	}
	for _, c := range []struct {
		name string
		key  service.Key
		want service.Action
	}{
		{"a port the service does not have", service.Key{Addr: web.Addr, Port: 81, Protocol: transport.TCP}, service.Refuse},
		{"a protocol the service does not have", service.Key{Addr: web.Addr, Port: 80, Protocol: transport.UDP}, service.Refuse},
		{"no service", service.Key{Addr: web.Addr.Next(), Port: 80, Protocol: transport.TCP}, service.Pass},
	} {
		if a, _ := tr.Translate(service.Call{Key: c.key}); a != c.want {
			t.Errorf("%s: %s, want %s", c.name, a, c.want)
		}
	}
	tr.Set(web, service.Entry{ID: 1})
	if a, _ := tr.Translate(service.Call{Key: web}); a != service.Refuse {
		t.Errorf("without backends: %s", a)
	}
	tr.Delete(web)
	tr.Delete(web)
	if a, _ := tr.Translate(service.Call{Key: web}); a != service.Pass {
		t.Errorf("deleted: %s", a)
	}
}

// A client keeps its backend while it comes back in time, also when others come; it gets another when its own goes or when it was
// away too long.
func TestAffinity(t *testing.T) {
	var tr service.Translator
	list := backends(1, 10)
	table := service.Next(nil, list[:9])
	set := func(table service.Table) { tr.Set(web, service.Entry{ID: 1, Table: table, AffinitySeconds: 100}) }
	set(table)
	call := service.Call{Key: web, Client: service.Client{1}, Now: 1000}
	_, first := tr.Translate(call)
	for i := range 50 {
		call.Now += 100
		call.Random += 77
		if i == 20 {
			table = service.Next(&table, list)
			set(table)
		}
		if _, b := tr.Translate(call); b != first {
			t.Fatalf("step %d: from %s to %s", i, first, b)
		}
	}
	away := call
	seen := map[netip.AddrPort]bool{}
	for range 50 {
		away.Now += 101
		away.Random += 77
		_, b := tr.Translate(away)
		seen[b] = true
	}
	if len(seen) < 2 {
		t.Error("a client that was away too long never moved")
	}
	_, last := tr.Translate(away)
	i := slices.Index(list, last)
	table = service.Next(&table, slices.Delete(slices.Clone(list), i, i+1))
	set(table)
	if _, b := tr.Translate(away); b == last || !b.IsValid() {
		t.Errorf("%s is gone and %s was given", last, b)
	}
}

// Datagrams of one socket that is not connected go to one backend until that is gone.
func TestSendsStay(t *testing.T) {
	var tr service.Translator
	list := backends(1, 10)
	table := service.Next(nil, list[:9])
	dns := service.Key{Addr: web.Addr, Port: 53, Protocol: transport.UDP}
	tr.Set(dns, service.Entry{ID: 2, Table: table})
	first := map[uint64]netip.AddrPort{}
	for round := range 3 {
		for s := range uint64(1000) {
			_, b := tr.Translate(service.Call{Key: dns, Socket: s, Random: uint32(round), Sends: true})
			if round == 0 {
				first[s] = b
			} else if first[s] != b {
				t.Fatalf("socket %d moved from %s to %s", s, first[s], b)
			}
		}
		table = service.Next(&table, list)
		tr.Set(dns, service.Entry{ID: 2, Table: table})
	}
	table = service.Next(&table, list[1:])
	tr.Set(dns, service.Entry{ID: 2, Table: table})
	for s := range uint64(1000) {
		_, b := tr.Translate(service.Call{Key: dns, Socket: s, Sends: true})
		if (b == first[s]) == (first[s] == list[0]) {
			t.Fatalf("socket %d: from %s to %s while %s went", s, first[s], b, list[0])
		}
	}
}
