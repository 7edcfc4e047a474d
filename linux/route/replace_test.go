package route_test

import (
	"context"
	"testing"
	"time"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// TestReplacementHasNoGap listens to the kernel while a route changes: at no moment may the old one be gone and the new
// one not be there.
func TestReplacementHasNoGap(t *testing.T) {
	table, ns := newTable(t)
	dst := prefix("3fff:0:0:1::/64")
	forms := []desired.Route{
		{Dst: dst, Discard: true},
		{Dst: dst, Link: "up0"},
		{Dst: dst, Via: addr("2001:db8::2"), Link: "up0"},
		{Dst: dst, Via: addr("fe80::2"), Link: "up1"},
		{Dst: dst, Discard: true},
	}
	reconcile(t, table, forms[0])
	events, err := rtnl.Subscribe(ns, rtnl.Routes)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	for _, r := range forms[1:] {
		reconcile(t, table, r)
	}
	last := desired.Route{Dst: prefix("3fff:0:0:2::/64"), Discard: true}
	if err := table.Ensure(context.Background(), last); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	changes := 0
	for {
		list, err := events.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			switch {
			case e.Resync:
				t.Fatal("events were lost")
			case e.Route.Dst == dst && e.Gone:
				t.Errorf("the route was removed on the way: %v", e.Route)
			case e.Route.Dst == dst:
				changes++
			case e.Route.Dst == last.Dst:
				if changes != len(forms)-1 {
					t.Errorf("%d changes were told, want %d", changes, len(forms)-1)
				}
				return
			}
		}
	}
}
