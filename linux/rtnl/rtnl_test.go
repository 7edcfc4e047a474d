package rtnl_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/diff"
)

func newConn(t *testing.T) (*rtnl.Conn, *netns.NS) {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "ip link set lo up")
	c, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, ns
}

func discard(i int) rtnl.Route {
	a := netip.AddrFrom16([16]byte{0x3f, 0xff, 6: byte(i >> 8), 7: byte(i)})
	return rtnl.Route{Dst: netip.PrefixFrom(a, 64), Type: unix.RTN_UNREACHABLE, Protocol: 206}
}

func TestEachRequestHasItsAnswer(t *testing.T) {
	c, _ := newConn(t)
	bad := rtnl.AddRoute(rtnl.Route{Dst: netip.MustParsePrefix("3fff:1::/64"), Via: netip.MustParseAddr("fe80::5"), Protocol: 206}, rtnl.IfAbsent)
	good := rtnl.AddRoute(discard(1), rtnl.IfAbsent)
	again := rtnl.AddRoute(discard(1), rtnl.IfAbsent)
	fine := rtnl.AddRoute(discard(1), rtnl.IfAbsent).Fine(unix.EEXIST)
	err := c.Do(bad, good, again, fine)
	if bad.Err() == nil || good.Err() != nil || !errors.Is(again.Err(), unix.EEXIST) || fine.Err() != nil {
		t.Errorf("answers: %v, %v, %v, %v", bad.Err(), good.Err(), again.Err(), fine.Err())
	}
	for _, want := range []string{"add route 3fff:1::/64 via fe80::5: ", "add route 3fff:0:0:1::/64: file exists"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	var refused *rtnl.Error
	if !errors.As(bad.Err(), &refused) || refused.Detail == "" {
		t.Errorf("the kernel's own words are missing: %#v", bad.Err())
	}
	if routes, err := c.Routes(unix.RT_TABLE_MAIN, 206); err != nil || len(routes) != 1 {
		t.Errorf("routes: %v, %v", routes, err)
	}
}

func TestManyGoroutinesOnOneConn(t *testing.T) {
	c, _ := newConn(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := c.Do(rtnl.AddRoute(discard(i), rtnl.IfAbsent), rtnl.DeleteRoute(discard(i+1000))); err != nil {
				t.Error(err)
			}
			if _, err := c.Links(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if routes, err := c.Routes(unix.RT_TABLE_MAIN, 206); err != nil || len(routes) != 50 {
		t.Errorf("%d routes, %v", len(routes), err)
	}
}

// TestDumpIsWholeWhileTheTableChanges reads a table of a thousand routes while another goroutine changes it beside them:
// each list has all the thousand, or there is an error that says so.
func TestDumpIsWholeWhileTheTableChanges(t *testing.T) {
	c, ns := newConn(t)
	const n = 1000
	var steady []*rtnl.Request
	for i := range n {
		steady = append(steady, rtnl.AddRoute(discard(i), rtnl.IfAbsent))
	}
	if err := c.Do(steady...); err != nil {
		t.Fatal(err)
	}
	other, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		r := discard(n + 1)
		for ctx.Err() == nil {
			if err := other.Do(rtnl.AddRoute(r, rtnl.Replace), rtnl.DeleteRoute(r)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	whole := 0
	for range 100 {
		routes, err := c.Routes(unix.RT_TABLE_MAIN, 206)
		switch {
		case errors.Is(err, rtnl.ErrInterrupted):
		case err != nil:
			t.Fatal(err)
		case len(routes) < n:
			t.Fatalf("a list of %d routes was given for whole, want %d", len(routes), n)
		default:
			whole++
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d of 100 lists were had while the table changed", whole)
}

func TestSubscription(t *testing.T) {
	c, ns := newConn(t)
	s, err := rtnl.Subscribe(ns, rtnl.Links, rtnl.Addresses, rtnl.Routes, rtnl.Neighbours, rtnl.Settings)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	netnstest.Run(t, ns, "ip link add sw0 type bridge")
	netnstest.Run(t, ns, "ip -6 addr add 3fff::1/128 dev sw0")
	netnstest.Run(t, ns, "ip -6 neigh add 3fff::2 dev sw0 lladdr 02:00:00:00:00:01 nud permanent")
	netnstest.Run(t, ns, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	if err := c.Do(rtnl.AddRoute(discard(1), rtnl.IfAbsent), rtnl.DeleteRoute(discard(1))); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, ns, "ip link del sw0")
	want := map[string]bool{"link": true, "link gone": true, "addr": true, "neigh": true, "setting": true, "route": true, "route gone": true}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for len(want) > 0 {
		events, err := s.Receive(ctx)
		if err != nil {
			t.Fatalf("%v; still missing: %v", err, want)
		}
		for _, e := range events {
			delete(want, kind(e))
		}
	}
}

// kind names the events that TestSubscription causes.
func kind(e rtnl.Event) string {
	name := ""
	switch {
	case e.Link != nil && e.Link.Name == "sw0":
		name = "link"
	case e.Addr != nil && e.Addr.Prefix == netip.MustParsePrefix("3fff::1/128"):
		name = "addr"
	case e.Neigh != nil && e.Neigh.Addr == netip.MustParseAddr("3fff::2") && e.Neigh.Permanent:
		name = "neigh"
	case e.Setting != nil && e.Setting.Index == rtnl.AllLinks && e.Setting.Forwarding == 1:
		name = "setting"
	case e.Route != nil && e.Route.Dst == discard(1).Dst && e.Route.Protocol == 206:
		name = "route"
	}
	if name != "" && e.Gone {
		name += " gone"
	}
	return name
}

func TestLostEventsAreTold(t *testing.T) {
	c, ns := newConn(t)
	s, err := rtnl.Subscribe(ns, rtnl.Routes)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 20 { // more events than the receive buffer holds
		var batch []*rtnl.Request
		for i := range rtnl.MaxBatch {
			batch = append(batch, rtnl.AddRoute(discard(i), rtnl.Replace), rtnl.DeleteRoute(discard(i)))
		}
		if err := c.Do(batch...); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		events, err := s.Receive(ctx)
		if err != nil {
			t.Fatalf("no event says that events were lost: %v", err)
		}
		if events[0].Resync {
			return
		}
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	_, ns := newConn(t)
	s, err := rtnl.Subscribe(ns, rtnl.Neighbours)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 { // and can be called again
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			_, err := s.Receive(ctx)
			done <- err
		}()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Receive: %v", err)
		}
	}
}

func TestApplyStopsWithItsContext(t *testing.T) {
	c, _ := newConn(t)
	ctx, cancel := context.WithCancel(context.Background())
	var names []string
	for i := range rtnl.MaxBatch + 1 {
		names = append(names, fmt.Sprint(i))
	}
	i := 0
	done, err := rtnl.Apply(ctx, c, diff.Delta[string]{Add: names}, rtnl.Changes{Add: func(string) *rtnl.Request {
		i++
		if i == rtnl.MaxBatch {
			cancel()
		}
		return rtnl.AddRoute(discard(i), rtnl.IfAbsent)
	}})
	if !errors.Is(err, context.Canceled) || len(done.Add) != rtnl.MaxBatch {
		t.Errorf("%d were added, %v", len(done.Add), err)
	}
}
