package rtnl_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

// TestBulkTellsEachRefusal has refused requests at every place of a send: its first, its last, which alone is asked to be
// answered, and their neighbours.
func TestBulkTellsEachRefusal(t *testing.T) {
	c, _ := newConn(t)
	ctx := context.Background()
	const n = 2*rtnl.BulkBatch + 7
	bad := map[int]bool{}
	for _, i := range []int{0, 1, rtnl.BulkBatch - 2, rtnl.BulkBatch - 1, rtnl.BulkBatch, 2*rtnl.BulkBatch - 1, 2 * rtnl.BulkBatch, n - 2, n - 1} {
		bad[i] = true
		if err := c.Do(rtnl.AddRoute(discard(i), rtnl.IfAbsent)); err != nil {
			t.Fatal(err)
		}
	}
	done, refused, err := c.DoBulk(ctx, rtnl.AddRoutes(n, discard, rtnl.IfAbsent))
	if err != nil || done != n || len(refused) != len(bad) {
		t.Errorf("%d of %d done, %d refused, want %d; %v", done, n, len(refused), len(bad), err)
	}
	for i, r := range refused {
		if !bad[i] || !errors.Is(r, unix.EEXIST) || r.What != "add route "+discard(i).Dst.String() {
			t.Errorf("request %d: %v", i, r)
		}
	}
	if routes, err := c.Routes(unix.RT_TABLE_MAIN, 206); err != nil || len(routes) != n {
		t.Errorf("%d routes, want %d; %v", len(routes), n, err)
	}
	for range 2 { // a missing one is fine
		if done, refused, err := c.DoBulk(ctx, rtnl.DeleteRoutes(n, discard)); err != nil || done != n || len(refused) != 0 {
			t.Errorf("delete: %d done, %v, %v", done, refused, err)
		}
	}
	if routes, err := c.Routes(unix.RT_TABLE_MAIN, 206); err != nil || len(routes) != 0 {
		t.Errorf("%d routes are left, %v", len(routes), err)
	}
}

func TestBulkStopsWithItsContext(t *testing.T) {
	c, _ := newConn(t)
	ctx, cancel := context.WithCancel(context.Background())
	done, _, err := c.DoBulk(ctx, rtnl.AddRoutes(2*rtnl.BulkBatch, func(i int) rtnl.Route {
		if i == rtnl.BulkBatch-1 {
			cancel()
		}
		return discard(i)
	}, rtnl.IfAbsent))
	if !errors.Is(err, context.Canceled) || done != rtnl.BulkBatch {
		t.Errorf("%d done, %v", done, err)
	}
}

// TestAttributeLimit goes one past what the 16 bits of an attribute's length can say.
func TestAttributeLimit(t *testing.T) {
	c, _ := newConn(t)
	for _, tc := range []struct {
		bytes, nested int // the inner attribute has a header as well and is padded to a multiple of 4
		long          bool
	}{{65531, 65524, false}, {65532, 65525, true}} {
		r := rtnl.NewRequest("test", unix.RTM_GETLINK, 0, make([]byte, unix.SizeofIfInfomsg)).Fine(unix.EINVAL, unix.ENODEV, unix.ERANGE)
		r.Bytes(unix.IFLA_IFALIAS, make([]byte, tc.bytes))
		if err := c.Do(r); errors.Is(err, unix.EMSGSIZE) != tc.long {
			t.Errorf("%d bytes: %v", tc.bytes, err)
		}
		r = rtnl.NewRequest("test", unix.RTM_GETLINK, 0, make([]byte, unix.SizeofIfInfomsg)).Fine(unix.EINVAL, unix.ENODEV, unix.ERANGE)
		r.Nest(unix.IFLA_LINKINFO, func() { r.Bytes(unix.IFLA_INFO_KIND, make([]byte, tc.nested)) })
		if err := c.Do(r); errors.Is(err, unix.EMSGSIZE) != tc.long {
			t.Errorf("%d bytes in another attribute: %v", tc.nested, err)
		}
	}
}

func TestNextHopsAreReadBack(t *testing.T) {
	c, ns := newConn(t)
	netnstest.Run(t, ns, "ip link add sw0 type bridge")
	netnstest.Run(t, ns, "ip link set sw0 up")
	l, _, err := c.Link("sw0")
	if err != nil {
		t.Fatal(err)
	}
	one := rtnl.NextHop{ID: 7, Protocol: 206, Via: netip.MustParseAddr("fe80::2"), Index: l.Index}
	two := rtnl.NextHop{ID: 8, Protocol: 206, Index: l.Index}
	both := rtnl.NextHop{ID: 9, Protocol: 206, Group: []uint32{7, 8}}
	err = c.Do(rtnl.AddNextHop(one, rtnl.IfAbsent), rtnl.AddNextHop(two, rtnl.IfAbsent), rtnl.AddNextHop(both, rtnl.IfAbsent))
	if err == nil {
		err = c.Do(rtnl.AddNextHop(one, rtnl.IfAbsent))
	}
	if !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second one with the same id: %v", err)
	}
	for _, left := range []int{3, 2, 0, 0} {
		list, err := c.NextHops()
		if err != nil || len(list) != left {
			t.Fatalf("%d nexthops, want %d: %v, %v", len(list), left, list, err)
		}
		if left == 3 && (list[0].String() != one.String() || list[1].String() != two.String() || list[2].String() != both.String() || list[2].Other) {
			t.Errorf("%v, want %v, %v, %v", list, one, two, both)
		}
		id := uint32(7) // and it leaves the group
		if left < 3 {
			id = 8 // and the group, which was left with it alone, goes too
		}
		if err := c.Do(rtnl.DeleteNextHop(id)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIgnoredSender tells what one writer does and not what the other does.
func TestIgnoredSender(t *testing.T) {
	quiet, ns := newConn(t)
	loud, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer loud.Close()
	other, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s, err := rtnl.Subscribe(ns, rtnl.Routes)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ignore(quiet, other); err != nil {
		t.Fatal(err)
	}
	for i, c := range []*rtnl.Conn{quiet, other, loud} {
		if err := c.Do(rtnl.AddRoute(discard(i), rtnl.IfAbsent)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	events, err := s.Receive(ctx)
	if err != nil || len(events) != 1 || events[0].Route == nil || events[0].Route.Dst != discard(2).Dst {
		t.Errorf("the first event is %+v, %v; want the route of the third writer", events, err)
	}
}
