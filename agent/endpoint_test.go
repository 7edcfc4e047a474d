package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestAddConnectsAndDelRemoves(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	r := h.endpoint("web")
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Addrs) != 1 || !hostPrefix.Contains(got.Addrs[0]) || got.Gateway != desired.Gateway() || got.HostName != desired.LinkName(r.Key) {
		t.Errorf("attachment: %+v", got)
	}
	if who := got.Addrs[0].As16(); who[8] != 300>>8 || who[9] != 300&0xff {
		t.Errorf("address %s does not carry identity 300 of shop app=web", got.Addrs[0])
	}
	// The endpoint reaches the host's router address P:1::1 and is reached from the host.
	h.reaches(got.Addrs[0].String())
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	netnstest.Run(t, ns, "ping -6 -c 1 -W 5 2001:db8:a000:401:1::1")
	if v4 := netnstest.Run(t, ns, "ip -4 addr"); v4 != "" {
		t.Errorf("IPv4 inside the endpoint:\n%s", v4)
	}
	if _, err := a.Check(t.Context(), r); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	again, err := a.Add(t.Context(), r)
	if d := cmp.Diff(got, again, addrs); err != nil || d != "" {
		t.Errorf("a second ADD of one key: %v\n%s", err, d)
	}
	for range 2 { // the second finds nothing and succeeds
		if err := a.Del(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var code *cni.Error
	if _, err := a.Check(t.Context(), r); !errors.As(err, &code) || code.Code != cni.CodeUnknownContainer {
		t.Errorf("CHECK after DEL: %v, want code %d", err, cni.CodeUnknownContainer)
	}
	h.isAsBefore(before)
}

// isAsBefore waits for the reaper and compares.
func (h *host) isAsBefore(before string) {
	h.t.Helper()
	until(h.t, "the links of deleted endpoints are reaped", func() bool { return !strings.Contains(netnstest.Run(h.t, h.ns, "ip link"), desired.LinkPrefix) })
	if d := cmp.Diff(before, h.ip()); d != "" {
		h.t.Errorf("the host is not as before (-before +now):\n%s", d)
	}
	for _, f := range h.files() {
		switch filepath.Base(f) {
		case "agent.lock", "api.sock", "cni.sock", "alive", "boot", "settings.json":
		default:
			h.t.Errorf("file left behind: %s", f)
		}
	}
}

func TestFortyAddsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	const n = 40
	var requests [n]cni.Request
	for i := range requests {
		requests[i] = h.endpoint(fmt.Sprintf("e%d", i))
	}
	var mu sync.Mutex
	given := map[netip.Addr]int{}
	atOnce(n, func(i int) {
		got, err := a.Add(t.Context(), requests[i])
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if other, twice := given[got.Addrs[0]]; twice {
			t.Errorf("endpoints %d and %d have one address %s", other, i, got.Addrs[0])
		}
		given[got.Addrs[0]] = i
	})
	for addr := range given {
		h.reaches(addr.String())
	}
	atOnce(n, func(i int) {
		if err := a.Del(t.Context(), requests[i]); err != nil {
			t.Error(err)
		}
	})
	h.isAsBefore(before)
}

// atOnce calls f for 0 to n-1, all together.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func TestFiveHundredCycles(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	var requests [10]cni.Request
	for i := range requests {
		requests[i] = h.endpoint(fmt.Sprintf("e%d", i))
	}
	seen := map[netip.Addr]bool{}
	var mu sync.Mutex
	atOnce(len(requests), func(i int) {
		for range 50 {
			got, err := a.Add(t.Context(), requests[i])
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if seen[got.Addrs[0]] {
				t.Errorf("address %s was given out twice", got.Addrs[0])
			}
			seen[got.Addrs[0]] = true
			mu.Unlock()
			if err := a.Del(t.Context(), requests[i]); err != nil {
				t.Error(err)
			}
		}
	})
	if len(seen) != 500 {
		t.Errorf("%d addresses in 500 cycles", len(seen))
	}
	h.isAsBefore(before)
}

// ADDs and DELs of one key, in any order: at the end it is either there whole or not at all, as the last word says.
func TestAddsAndDelsOfOneKey(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	r := h.endpoint("web")
	for range 10 {
		var mu sync.Mutex
		given := map[netip.Addr]bool{}
		atOnce(8, func(i int) {
			if i%4 == 3 {
				if err := a.Del(t.Context(), r); err != nil {
					t.Error(err)
				}
				return
			}
			got, err := a.Add(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			given[got.Addrs[0]] = true
		})
		if len(given) > 3 { // one before, between and after the two DELs
			t.Errorf("six ADDs and two DELs of one key gave %d addresses", len(given))
		}
		list := a.Endpoints()
		if len(list) > 1 {
			t.Fatalf("%d endpoints of one key", len(list))
		}
		if len(list) == 1 {
			if _, err := a.Check(t.Context(), r); err != nil {
				t.Errorf("after the race: %v", err)
			}
		}
		if err := a.Del(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	h.isAsBefore(before)
}

func TestCancelledAddLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	r := h.endpoint("web")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Add(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("ADD with an ended context: %v, want %v", err, context.Canceled)
	}
	if list := a.Endpoints(); len(list) != 0 {
		t.Errorf("endpoints after a cancelled ADD: %+v", list)
	}
	h.isAsBefore(before)
}

// A second ADD that fails leaves alone what the first one made.
func TestFailedSecondAddKeepsTheFirst(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	r := h.endpoint("web")
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := h.endpoint("elsewhere")
	ns, err := netns.Open(elsewhere.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	netnstest.Run(t, ns, "ip link add eth0 type veth peer name other")
	again := r
	again.NetNS = elsewhere.NetNS
	if _, err := a.Add(t.Context(), again); err == nil {
		t.Fatal("ADD over an interface of somebody else succeeded")
	}
	until(t, "the endpoint is whole again", func() bool { _, err := a.Check(t.Context(), r); return err == nil })
	h.reaches(got.Addrs[0].String())
}

// An endpoint of before the host had IPv4 asks again when no IPv4 address is left. It is refused, and keeps what it has.
func TestSecondAddWithoutIPv4LeftKeepsTheAddress(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	var all []cni.Request
	had := map[string]netip.Addr{}
	for _, name := range []string{"a", "b", "c", "d", "e"} { // one more than a /30 has addresses
		r := h.endpoint(name)
		got, err := a.Add(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		all, had[name] = append(all, r), got.Addrs[0]
	}
	for range 2 { // and what the journal says is the same
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h.configure(strings.Replace(plan, "number: 1, clock", "number: 1, ipv4Prefix: 192.0.2.0/30, clock", 1))
		a = h.start()
		refused := 0
		for _, r := range all {
			if _, err := a.Add(t.Context(), r); err != nil {
				refused++
			}
		}
		if refused == 0 {
			t.Fatal("every endpoint got an IPv4 address")
		}
		for _, e := range a.Endpoints() {
			if had[e.Container] != e.Addrs[0] {
				t.Errorf("%s has %s, want %s", e.Container, e.Addrs, had[e.Container])
			}
		}
		if n := len(a.Endpoints()); n != len(all) {
			t.Errorf("%d endpoints live, want %d", n, len(all))
		}
	}
}

func TestFailedAddLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()

	occupied := h.endpoint("occupied")
	ns, err := netns.Open(occupied.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	netnstest.Run(t, ns, "ip link add eth0 type veth peer name other")
	gone := h.endpoint("gone")
	gone.NetNS += "-not-there"
	own := h.endpoint("own")
	own.NetNS = h.ns.Path()
	file := h.endpoint("file")
	file.NetNS = filepath.Join(h.conf(), "fabric.yaml")

	for _, c := range []struct {
		name string
		r    cni.Request
		says string
		code cni.Code
	}{
		{"interface exists", occupied, "exists in", cni.CodeFailed},
		{"namespace missing", gone, "no such file", cni.CodeInvalidNetNS},
		{"namespace of the host", own, "that of the host itself", cni.CodeInvalidNetNS},
		{"not a namespace", file, "fabric.yaml", cni.CodeInvalidNetNS},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := a.Add(t.Context(), c.r)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("ADD: %v, want an error with %q", err, c.says)
			}
			var code *cni.Error
			if errors.As(err, &code) && code.Code != c.code || code == nil && c.code != cni.CodeFailed {
				t.Errorf("ADD: %v, want code %d", err, c.code)
			}
			if list := a.Endpoints(); len(list) != 0 {
				t.Errorf("endpoints after a failed ADD: %+v", list)
			}
		})
	}
	h.isAsBefore(before)
}

func TestFixedAddress(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	web := h.endpoint("web")
	for _, c := range []struct {
		name string
		set  func(*cni.Request)
		says string
	}{
		{"outside all pools", func(r *cni.Request) { r.Fixed = []netip.Addr{netip.MustParseAddr("2001:db8:a000:401::7")} }, "no pool"},
		{"namespace without a grant", func(r *cni.Request) { r.Namespace = "bank" }, "not granted"},
		{"not claimed", func(r *cni.Request) { r.Fixed = []netip.Addr{netip.MustParseAddr("2001:db8:a000:1::8")} }, "not claimed"},
		{"claimed by another", func(r *cni.Request) { r.Name = "db" }, "claimed by shop/web"},
		{"two", func(r *cni.Request) { r.Fixed = append(r.Fixed, netip.MustParseAddr("2001:db8:a000:1::8")) }, "can have one"},
	} {
		r := web
		r.Fixed = []netip.Addr{fixedAddr}
		c.set(&r)
		if _, err := a.Add(t.Context(), r); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.says)
		}
	}
	web.Fixed = []netip.Addr{fixedAddr}
	got, err := a.Add(t.Context(), web)
	if err != nil || got.Addrs[0] != fixedAddr {
		t.Fatalf("ADD: %+v, %v; want %s", got, err, fixedAddr)
	}
	h.reaches(fixedAddr.String())
	if o := h.object("endpoint", "web/eth0"); o.State != "done" {
		t.Errorf("status: %+v", o)
	}
}

// Labels without a number give identity 0; a second interface of one container is an endpoint of its own.
func TestUnknownIdentityAndSecondInterface(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	one := h.endpoint("web")
	one.Labels = map[string]string{"app": "nobody-numbered-this"}
	two := one
	two.Key.Interface = "eth1"
	for _, r := range []cni.Request{one, two} {
		got, err := a.Add(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if who := got.Addrs[0].As16(); who[8] != 0 || who[9] != 0 {
			t.Errorf("address %s carries an identity, want 0: not known yet", got.Addrs[0])
		}
		h.reaches(got.Addrs[0].String())
	}
	if list := a.Endpoints(); len(list) != 2 || list[0].Link == list[1].Link {
		t.Errorf("endpoints: %+v", list)
	}
	if err := a.Del(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(t.Context(), two); err != nil {
		t.Errorf("after DEL of the other interface: %v", err)
	}
	if err := a.Del(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	h.isAsBefore(before)
}

func TestGCByNetwork(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	keep, drop, other := h.endpoint("keep"), h.endpoint("drop"), h.endpoint("other")
	other.Network = "net2"
	for _, r := range []cni.Request{keep, drop, other} {
		if _, err := a.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.stop(); err != nil { // the network's name is known after a restart
		t.Fatal(err)
	}
	a = h.start()
	if err := a.GC(t.Context(), "net1", []desired.EndpointKey{keep.Key}); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range a.Endpoints() {
		left = append(left, e.Container)
	}
	if d := cmp.Diff([]string{"keep", "other"}, left); d != "" {
		t.Errorf("after GC (-want +have):\n%s", d)
	}
}

func TestFilesAreRootsOwn(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	for _, name := range []string{"api.sock", "cni.sock"} {
		info, err := os.Stat(filepath.Join(h.run(), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
}
