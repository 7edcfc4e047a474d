package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// crowd is n wanted endpoints, sixteen to a namespace.
func crowd(t testing.TB, first, n int) (links []desired.Link, routes []desired.Route, neighs []desired.Neighbour) {
	t.Helper()
	var ns *netns.NS
	for i := range n {
		if i%16 == 0 {
			ns = netnstest.New(t)
		}
		l, r, nb := endpoint(first+i, ns, fmt.Sprintf("eth%d", i%16))
		links, routes, neighs = append(links, l), append(routes, r), append(neighs, nb)
	}
	return links, routes, neighs
}

func TestThousandEndpoints(t *testing.T) {
	const n = 1000
	h := newHost(t)
	links, routes, neighs := crowd(t, 1, n)
	if delta := h.reconcile(t, links, routes, neighs); delta == "" {
		t.Error("the first reconcile did nothing")
	}
	if delta := h.reconcile(t, links, routes, neighs); delta != "" {
		t.Errorf("the second reconcile changed %.200s", delta)
	}
	seen, err := h.Observe(context.Background())
	if err != nil || len(seen) != n {
		t.Errorf("Observe: %d links, %v", len(seen), err)
	}
	keep := rtnl.MaxBatch + 1
	h.reconcile(t, links[:keep], routes[:keep], neighs[:keep])
	for what, list := range map[string]int{"links": count(t, h, "ip -br link show group 26744"), "routes": count(t, h, "ip -6 route show proto 206"),
		"neighbours": count(t, h, "ip -6 neigh show nud permanent")} {
		if list != keep {
			t.Errorf("%d %s are left, want %d", list, what, keep)
		}
	}
	h.reconcile(t, nil, nil, nil)
	if left := count(t, h, "ip -br link show type veth"); left != 0 {
		t.Errorf("%d links are left", left)
	}
}

func count(t testing.TB, h *host, line string) int {
	t.Helper()
	n := 0
	for _, c := range netnstest.Run(t, h.ns, line) {
		if c == '\n' {
			n++
		}
	}
	return n
}

// TestManyAtOnce adds and retires from many goroutines while another one reaps.
func TestManyAtOnce(t *testing.T) {
	h := newHost(t)
	links, routes, neighs := crowd(t, 1, 40)
	ctx, cancel := context.WithCancel(context.Background())
	var reaper, wg sync.WaitGroup
	reaper.Go(func() {
		for ctx.Err() == nil {
			if err := h.Reap(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	for i := range links {
		wg.Go(func() {
			for range 3 {
				if err := h.add(links[i], routes[i], neighs[i]); err != nil {
					t.Error(err)
				}
				if err := h.Retire(ctx, links[i].Key, h.routes.Removal(routes[i].Dst)); err != nil {
					t.Error(err)
				}
			}
			if err := h.add(links[i], routes[i], neighs[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cancel()
	reaper.Wait()
	if delta := h.reconcile(t, links, routes, neighs); delta != "" {
		t.Errorf("after all were added a reconcile changed %s", delta)
	}
}

// BenchmarkEndpoint is the kernel's part of a CNI ADD and DEL. Namespaces are made and closed outside the measurement:
// the kernel removes them in the background, under the lock that an ADD needs.
func BenchmarkEndpoint(b *testing.B) {
	for _, present := range []int{0, 1000} {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			h := newHost(b)
			links, routes, neighs := crowd(b, 100_000, present)
			h.reconcile(b, links, routes, neighs)
			ctx := context.Background()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				ns := netnstest.New(b)
				l, r, n := endpoint(i, ns, "eth0")
				b.StartTimer()
				if err := h.add(l, r, n); err != nil {
					b.Fatal(err)
				}
				if err := h.Retire(ctx, l.Key, h.routes.Removal(r.Dst)); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if i%64 == 63 {
					if err := h.Reap(ctx); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkRetire is what a CNI DEL waits for.
func BenchmarkRetire(b *testing.B) {
	h := newHost(b)
	ctx := context.Background()
	ns := netnstest.New(b)
	l, r, n := endpoint(1, ns, "eth0")
	for b.Loop() {
		b.StopTimer()
		if err := h.add(l, r, n); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := h.Retire(ctx, l.Key, h.routes.Removal(r.Dst)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReconcile is the check of a whole host on which nothing has to be done.
func BenchmarkReconcile(b *testing.B) {
	h := newHost(b)
	links, routes, neighs := crowd(b, 1, 1000)
	h.reconcile(b, links, routes, neighs)
	for b.Loop() {
		if delta := h.reconcile(b, links, routes, neighs); delta != "" {
			b.Fatal(delta)
		}
	}
}

// BenchmarkBurst40 adds forty endpoints at once.
func BenchmarkBurst40(b *testing.B) {
	h := newHost(b)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		var eps [40]*netns.NS
		for j := range eps {
			eps[j] = netnstest.New(b)
		}
		b.StartTimer()
		var wg sync.WaitGroup
		for j, ns := range eps {
			wg.Go(func() {
				if err := h.add(endpoint(40*i+j, ns, "eth0")); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		h.reconcile(b, nil, nil, nil)
		b.StartTimer()
	}
}
