package connect

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// many returns n frontends with 10 backends each.
func many(n int) []service.Frontend {
	list := make([]service.Frontend, n)
	for i := range list {
		a := vip.Addr().As16()
		binary.BigEndian.PutUint32(a[12:], uint32(i+1))
		f := service.Frontend{Key: service.Key{Addr: netip.AddrFrom16(a), Port: 80, Protocol: transport.TCP}}
		for j := range 10 {
			b := three[0].Addr().As16()
			binary.BigEndian.PutUint32(b[8:], uint32(i))
			b[15] = byte(j)
			f.Backends = append(f.Backends, netip.AddrPortFrom(netip.AddrFrom16(b), 8080))
		}
		list[i] = f
	}
	return list
}

func openHooks(t testing.TB) *Hooks {
	t.Helper()
	netnstest.Root(t)
	h, err := Open(folder(t), newCgroup(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// Mark: 10,000 services with 10 backends each are led within 3 s of a cold start.
func BenchmarkCold10000(b *testing.B) {
	list := many(10_000)
	for b.Loop() {
		b.StopTimer()
		h := openHooks(b)
		b.StartTimer()
		if _, err := h.Reconcile(b.Context(), list); err != nil {
			b.Fatal(err)
		}
	}
}

// A new agent takes 10,000 services over.
func BenchmarkTakeOver10000(b *testing.B) {
	f, cgroup := folder(b), newCgroup(b)
	list := many(10_000)
	for first := true; b.Loop(); first = false {
		h, err := Open(f, cgroup)
		if err != nil {
			b.Fatal(err)
		}
		if first {
			b.StopTimer()
		}
		delta, err := h.Reconcile(b.Context(), list)
		if err != nil || !first && !delta.Empty() {
			b.Fatal(err, delta.Empty())
		}
		if first {
			b.StartTimer()
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// Mark: one change of an endpoint among 10,000 services costs at most 1 ms of processor time.
func BenchmarkOneChange(b *testing.B) {
	h := openHooks(b)
	list := many(10_000)
	if _, err := h.Reconcile(b.Context(), list); err != nil {
		b.Fatal(err)
	}
	f := list[5000]
	all := f.Backends
	for n := 0; b.Loop(); n++ {
		f.Backends = all[n%2 : 9+n%2]
		if err := h.Ensure(b.Context(), f); err != nil {
			b.Fatal(err)
		}
	}
}
