package agent_test

import (
	"errors"
	"strings"
	"testing"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// A fixed address goes from one container to the next, as that of a pod that is made anew: the ADD that gets it while the DEL of the
// one before is still under way keeps its route.
func TestFixedAddressIsHandedOver(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	var both [2]cni.Request
	for i, container := range []string{"one", "two"} {
		r := h.endpoint(container)
		r.Name, r.Fixed = "web", append(r.Fixed, fixedAddr)
		both[i] = r
	}
	if _, err := a.Add(t.Context(), both[0]); err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		old, next := both[n%2], both[1-n%2]
		gone := make(chan error, 1)
		go func() { gone <- a.Del(t.Context(), old) }()
		_, err := a.Add(t.Context(), next)
		for taken := (*allocation.TakenError)(nil); errors.As(err, &taken); {
			_, err = a.Add(t.Context(), next)
		}
		if err := errors.Join(err, <-gone); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Check(t.Context(), next); err != nil {
			t.Fatalf("handover %d: %v", n, err)
		}
	}
	// The agent still knows whose the address is: a route that somebody removes comes back.
	netnstest.Run(t, h.ns, "ip -6 route del "+fixedAddr.String())
	until(t, "the route comes back", func() bool {
		return strings.Contains(netnstest.Run(t, h.ns, "ip -6 route show proto 206"), fixedAddr.String())
	})
}

// The prefix of a retired host rests and goes to another one: nothing more may be given out of it, and what lives there goes on.
func TestRetiredHostGivesNothingOut(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.endpoint("before")
	got, err := a.Add(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	h.configure(strings.Replace(plan, "rack: r1, number: 1, clock", `rack: r1, number: 1, retired: "2026-01-01T00:00:00Z", clock`, 1))
	until(t, "the host is retired", func() bool { return a.Status(t.Context()) != nil })
	if given, err := a.Add(t.Context(), h.endpoint("after")); err == nil || !strings.Contains(err.Error(), "retired") {
		t.Errorf("got %+v, %v; want an error that says why", given, err)
	}
	again, err := a.Add(t.Context(), before)
	if err != nil || again.Addrs[0] != got.Addrs[0] {
		t.Errorf("a second ADD of what lives: %+v, %v", again, err)
	}
	if err := a.Del(t.Context(), before); err != nil {
		t.Error(err)
	}
}

// The prefix changed while the host was down, and with it went the endpoints: nobody is left to keep the agent from starting.
func TestStartRenumbersAHostWithoutEndpoints(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	web := h.endpoint("web")
	if _, err := a.Add(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if err := netns.Delete(web.NetNS); err != nil {
		t.Fatal(err)
	}
	until(t, "the link went with its namespace", func() bool {
		return !strings.Contains(netnstest.Run(t, h.ns, "ip link show group 26744"), "hx")
	})
	h.configure(strings.Replace(plan, "rack: r1, number: 1, clock", "rack: r1, number: 9, clock", 1))
	h.start()
	if n := len(h.endpoints()); n != 0 {
		t.Errorf("%d endpoints live", n)
	}
}

// The namespace of a container went without a DEL, and its path leads to that of the next one: nothing is made there for the first.
func TestPathOfANamespaceIsUsedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	one := h.endpoint("one")
	if _, err := a.Add(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := netns.Delete(one.NetNS); err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New(one.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
	until(t, "the first endpoint is retired", func() bool { return len(h.endpoints()) == 0 })
	two := one
	two.Key.Container = "two"
	if _, err := a.Add(t.Context(), two); err != nil {
		t.Error(err)
	}
}
