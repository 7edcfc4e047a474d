package agent_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// Whatever somebody removes or changes under the agent comes back, and so does what was removed while no agent ran.
func TestConverges(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	r := h.endpoint("web")
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	addr, link := got.Addrs[0].String(), got.HostName
	h.whole(r.Key)
	want := h.ip()
	ns, err := netns.Open(r.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	inside := func() string { return netnstest.Run(t, ns, "ip -6 -br addr") + netnstest.Run(t, ns, "ip -6 neigh") }
	wantInside := inside()

	for _, damage := range []string{
		"ip -6 route del " + addr,
		"ip link del " + link,
		"ip link set " + link + " down",
		"ip -6 neigh del " + addr + " dev " + link,
		"ip -6 route del unreachable " + hostPrefix.String(),
		"ip -6 route del " + peerPrefix,
		"ip -6 addr del 2001:db8:a000:401:1::1/128 dev lo",
		"ip -6 route replace unreachable " + peerPrefix + " proto 206",
		"ip -6 route replace unreachable " + addr + " proto 206",
	} {
		for _, running := range []bool{true, false} {
			if !running {
				if err := h.stop(); err != nil {
					t.Fatal(err)
				}
			}
			netnstest.Run(t, h.ns, damage)
			if !running {
				h.start()
			}
			host, endpoint := "", ""
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s\n%s\n%s", damage, cmp.Diff(want, host), cmp.Diff(wantInside, endpoint))
				}
			})
			until(t, damage+" is repaired", func() bool {
				host, endpoint = h.ip(), inside()
				return sameLines(want, host) && sameLines(wantInside, endpoint)
			})
		}
	}
	h.reaches(addr)
}

func sameLines(a, b string) bool {
	trim := func(s string) map[string]int {
		count := map[string]int{}
		for line := range strings.Lines(s) {
			word := strings.Fields(line) // the number behind the @ of a link's name is an index in another namespace
			if len(word) > 0 {
				word[0], _, _ = strings.Cut(word[0], "@")
			}
			count[strings.Join(word, " ")]++
		}
		return count
	}
	return cmp.Equal(trim(a), trim(b))
}

// An uplink that goes takes the route to the peer along, and brings it back. Endpoints follow its MTU.
func TestUplinkComesAndGoes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	got, err := a.Add(t.Context(), h.endpoint("web"))
	if err != nil {
		t.Fatal(err)
	}
	routes := func() string { return netnstest.Run(t, h.ns, "ip -6 route show proto 206") }
	netnstest.Run(t, h.ns, "ip link set up0 down")
	until(t, "status tells that the uplink is down", func() bool { return h.object("uplink", "up0").Why == string(desired.UplinkDown) })
	until(t, "and that the peer is behind it", func() bool {
		o := h.object("peer", "h2")
		return o.State == local.Failed && o.Why == string(desired.UplinkDown)
	})
	netnstest.Run(t, h.ns, "ip link set up0 up")
	until(t, "the route fails, for the uplink lost its address", func() bool { return h.object("kernel", "routes").State == local.Failed })
	netnstest.Run(t, h.ns, "ip -6 addr add fd7c:a1b2:c3d4::1/64 dev up0 nodad")
	until(t, "the route to the peer is back", func() bool { return strings.Contains(routes(), peerPrefix) })

	netnstest.Run(t, h.ns, "ip link set up0 mtu 1400")
	until(t, "the endpoint's link has the MTU of the uplink", func() bool {
		return strings.Contains(netnstest.Run(t, h.ns, "ip link show "+got.HostName), "mtu 1400")
	})
}

// With bigTCP endpoints and uplinks take super-packets as large as the uplink's device, and what lives follows the configuration.
func TestBigTCPComesAndGoes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	r := h.endpoint("web")
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := netns.Open(r.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	links := func() string {
		return netnstest.Run(t, h.ns, "ip -d link show "+got.HostName) + netnstest.Run(t, inside, "ip -d link show eth0") + netnstest.Run(t, h.ns, "ip -d link show up0")
	}
	most := regexp.MustCompile(`tso_max_size (\d+)`).FindStringSubmatch(netnstest.Run(t, h.ns, "ip -d link show up0"))[1]
	h.configure(strings.Replace(plan, "clock: trusted, uplinks", "clock: trusted, bigTCP: true, uplinks", 1))
	until(t, "both ends and the uplink are wide", func() bool {
		text := links()
		return strings.Count(text, "gso_max_size "+most) == 3 && strings.Count(text, "gro_max_size "+most) == 3
	})
	until(t, "the route leaves room for the jumbo header", func() bool {
		return strings.Contains(netnstest.Run(t, inside, "ip -6 route show default"), "mtu 1492")
	})
	until(t, "status tells", func() bool { return strings.Contains(h.object("care", "mtu").Detail, "super-packets of "+most) })
	h.configure(plan)
	until(t, "the endpoint is as others", func() bool {
		return strings.Count(links(), "gso_max_size 65536") == 2 && !strings.Contains(netnstest.Run(t, inside, "ip -6 route show default"), "mtu")
	})
}

func TestForwardingComesBack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	netnstest.Run(t, h.ns, "sysctl -q -w net.ipv6.conf.all.forwarding=0")
	until(t, "forwarding is on again", func() bool {
		return strings.TrimSpace(netnstest.Run(t, h.ns, "sysctl -n net.ipv6.conf.all.forwarding")) == "1"
	})
	if ra := strings.TrimSpace(netnstest.Run(t, h.ns, "sysctl -n net.ipv6.conf.up0.accept_ra")); ra != "2" {
		t.Errorf("accept_ra of the uplink is %s on a host that forwards, want 2", ra)
	}
}

// What others made stays, also where it stands in our way, and the status names it.
func TestForeignRouteIsReported(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	netnstest.Run(t, h.ns, "ip -6 route add unreachable "+peerPrefix+" proto static")
	h.start()
	until(t, "the status fails because of "+peerPrefix, func() bool {
		o := h.object("kernel", "routes")
		return o.State == local.Failed && strings.Contains(o.Why, peerPrefix)
	})
	if routes := netnstest.Run(t, h.ns, "ip -6 route show proto static"); !strings.Contains(routes, peerPrefix) {
		t.Errorf("the foreign route is gone: %s", routes)
	}
}

// A namespace that has gone takes its endpoint along, while the agent runs and while it does not.
func TestGoneNamespaceRetires(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	one, two := h.endpoint("one"), h.endpoint("two")
	before := h.ip()
	for _, r := range []desired.EndpointKey{one.Key, two.Key} {
		q := one
		if r == two.Key {
			q = two
		}
		if _, err := a.Add(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := netns.Delete(one.NetNS); err != nil {
		t.Fatal(err)
	}
	until(t, "endpoint one is retired", func() bool { return len(a.Endpoints()) == 1 })
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if err := netns.Delete(two.NetNS); err != nil {
		t.Fatal(err)
	}
	until(t, "the kernel took the link of two down", func() bool { return !strings.Contains(netnstest.Run(t, h.ns, "ip link"), desired.LinkPrefix) })
	a = h.start()
	if list := a.Endpoints(); len(list) != 0 {
		t.Errorf("endpoints whose namespaces have gone: %+v", list)
	}
	if log := h.log.String(); strings.Count(log, "its network namespace has gone") != 2 {
		t.Error("the log does not say twice why an endpoint was retired")
	}
	h.isAsBefore(before)
}

// After a restart of the host no namespace is the one it was, whatever its path leads to now.
func TestRestartedHostRetires(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	r := h.endpoint("web")
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, h.ns, "ip link del "+got.HostName)
	if err := os.WriteFile(filepath.Join(h.state(), "boot"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = h.start()
	if list := a.Endpoints(); len(list) != 0 {
		t.Errorf("endpoints of an earlier boot: %+v", list)
	}
	h.isAsBefore(before)
	again, err := a.Add(t.Context(), r)
	if err != nil || again.Addrs[0] == got.Addrs[0] {
		t.Errorf("ADD after the restart: %v, %v; want another address than %s", again.Addrs, err, got.Addrs[0])
	}
}

// A deletion that the plugin wrote down while no agent ran is carried out before anything is served.
func TestTombstoneIsReplayed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	before := h.ip()
	r := h.endpoint("web")
	if _, err := a.Add(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.state(), "tombstones")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := `{"container":"web","interface":"eth0","netns":"` + r.NetNS + `"}`
	if err := os.WriteFile(filepath.Join(dir, "web:eth0.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a = h.start()
	if list := a.Endpoints(); len(list) != 0 {
		t.Errorf("endpoints after the tombstone: %+v", list)
	}
	h.isAsBefore(before)
}

// A folder that is half right is refused as a whole and what runs goes on.
func TestBadFolderKeepsRunning(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.start()
	r := h.endpoint("web")
	if _, err := a.Add(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, says string }{
		{"unknown field", strings.Replace(plan, "profile", "profil", 1) + "\n---\napiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata: {name: h3}\nspec: {nummber: 3}\n", "nummber"},
		{"renumbers a living host", strings.Replace(plan, "rack: r1, number: 1, clock", "rack: r1, number: 9, clock", 1), "h1"},
		{"without this host", strings.Replace(plan, "{name: h1}", "{name: h7}", 1), "h1"},
		{"empty", "\n", ""},
	} {
		h.configure(c.text)
		until(t, c.name+" is refused", func() bool {
			o := h.object("config", "")
			return o.State == local.Failed && strings.Contains(o.Why, c.says)
		})
		if m, err := h.client().Metrics(t.Context()); err != nil || !strings.Contains(m, "\nhexapod_config_good 0\n") {
			t.Errorf("%s: metrics do not say it: %v", c.name, err)
		}
		if _, err := a.Check(t.Context(), r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if routes := netnstest.Run(t, h.ns, "ip -6 route show proto 206"); !strings.Contains(routes, peerPrefix) {
			t.Errorf("%s: the route to the peer is gone:\n%s", c.name, routes)
		}
		h.configure(plan)
		until(t, "the folder is right again", func() bool { return h.object("config", "").State == local.Done })
	}
	// A good change is taken: the peer is retired and its route goes.
	h.configure(strings.Replace(plan, "rack: r1, number: 2, clock", `rack: r1, number: 2, retired: "2026-01-01T00:00:00Z", clock`, 1))
	until(t, "the retired peer has no route", func() bool {
		return !strings.Contains(netnstest.Run(t, h.ns, "ip -6 route show proto 206"), peerPrefix)
	})
}

// A link with our mark that belongs to nobody goes; links of others stay.
func TestLinkOfNobody(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	before := h.ip()
	h.start()
	until(t, "the agent serves", func() bool { return h.object("kernel", "links").State == local.Done })
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	k := desired.EndpointKey{Container: "left", Interface: "eth0"}
	netnstest.Run(t, h.ns, "ip link add "+desired.LinkName(k)+" group 26744 type veth peer name left1 group 26744")
	netnstest.Run(t, h.ns, "ip link set "+desired.LinkName(k)+" alias "+desired.LinkAlias(k))
	h.start()
	until(t, "the link is gone", func() bool { return !strings.Contains(netnstest.Run(t, h.ns, "ip link"), desired.LinkPrefix) })
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(before, "up0") || !strings.Contains(h.ip(), "up0") {
		t.Error("the uplink is gone")
	}
}
