package service_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// Services come, change and go, some with the same address and port. What a host did step by step is what it would do at once.
func TestBoardStepByStep(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	here := service.Place{Node: "a", Zone: "za"}
	var steps service.Board
	kernel := map[service.Key]service.Frontend{}
	sources := map[service.Name]service.Source{}
	for round := range 2000 {
		n := service.Name{Namespace: "n", Name: fmt.Sprint(r.IntN(6))}
		var c service.Change
		if r.IntN(4) == 0 {
			c = steps.Delete(n)
			delete(sources, n)
		} else {
			s := one(nil)
			s.Service.Name = n
			s.Service.VIPs = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8:f::%d", 1+r.IntN(3)))}
			s.Service.Ports = append(s.Service.Ports, service.Port{Name: "other", Protocol: transport.UDP, Port: uint16(1 + r.IntN(2))})
			s.Service.AffinitySeconds = uint32(r.IntN(2))
			for i := range r.IntN(4) {
				s.Slices[0].Endpoints = append(s.Slices[0].Endpoints, ep(byte(i), service.State(r.IntN(8))))
			}
			c = steps.Put(s, here)
			sources[n] = s
		}
		for _, k := range c.Remove {
			if _, there := kernel[k]; !there {
				t.Fatalf("round %d: %s is removed and was not there", round, k)
			}
			delete(kernel, k)
		}
		for _, f := range c.Ensure {
			kernel[f.Key] = f
		}
		var whole service.Board
		names := make([]service.Name, 0, len(sources))
		for n := range sources {
			names = append(names, n)
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, n := range names {
			whole.Put(sources[n], here)
		}
		want := map[string]string{}
		for _, f := range whole.All() {
			want[f.Key.String()] = fmt.Sprint(f.Service, f.Backends, f.AffinitySeconds)
		}
		have := map[string]string{}
		for k, f := range kernel {
			have[k.String()] = fmt.Sprint(f.Service, f.Backends, f.AffinitySeconds)
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Fatalf("round %d, %s: -at once +step by step\n%s", round, n, d)
		}
		if len(steps.All()) != len(kernel) || !slices.Equal(steps.Names(), whole.Names()) {
			t.Fatalf("round %d: the board lists %d frontends, the kernel holds %d", round, len(steps.All()), len(kernel))
		}
	}
}

func TestBoardTellsWhoIsRefused(t *testing.T) {
	var b service.Board
	first, second := one([]service.Endpoint{ep(1, up)}), one([]service.Endpoint{ep(2, up)})
	second.Service.Name.Name = "zzz"
	if c := b.Put(second, service.Place{}); len(c.Ensure) != 1 || len(c.Remove) != 0 {
		t.Errorf("the first to come: %+v", c)
	}
	if c := b.Put(first, service.Place{}); len(c.Ensure) != 1 || c.Ensure[0].Service != first.Service.Name {
		t.Errorf("the first in order: %+v", c)
	}
	if l, _ := b.Line(second.Service.Name); l.Frontends[0].Why != service.Taken {
		t.Errorf("who lost it hears %q", l.Frontends[0].Why)
	}
	if c := b.Put(first, service.Place{}); len(c.Ensure)+len(c.Remove) != 0 {
		t.Errorf("no news: %+v", c)
	}
	if c := b.Delete(first.Service.Name); len(c.Ensure) != 1 || c.Ensure[0].Service != second.Service.Name || c.Ensure[0].Why != "" {
		t.Errorf("after the first is gone: %+v", c)
	}
	if c := b.Delete(second.Service.Name); len(c.Ensure) != 0 || len(c.Remove) != 1 {
		t.Errorf("after both are gone: %+v", c)
	}
	if c := b.Delete(second.Service.Name); len(c.Ensure)+len(c.Remove) != 0 {
		t.Errorf("twice: %+v", c)
	}
}
