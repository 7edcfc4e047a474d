package link

import (
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// BIG TCP on, changed by somebody else, and off again: both ends and the route inside follow.
func TestSuperPackets(t *testing.T) {
	netnstest.Root(t)
	h, ep := newHost(t), netnstest.New(t)
	l, r, n := endpoint(1, ep, "eth0")
	sized := func(segments int, route string) {
		t.Helper()
		l.Segments = segments
		for range 2 {
			if err := h.add(l, r, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Check(t.Context(), l); err != nil {
			t.Error(err)
		}
		for ns, name := range map[*netns.NS]string{h.ns: l.Name, ep: "eth0"} {
			if have := wide(t, ns, name); have != [2]int{segments, segments} {
				t.Errorf("%s: gso_max_size and gro_max_size are %v, want %d", name, have, segments)
			}
		}
		if out := netnstest.Run(t, ep, "ip -6 route show default"); strings.Contains(out, " mtu ") != (route != "") || !strings.Contains(out, route) {
			t.Errorf("default route: %s, want %q", out, route)
		}
	}
	sized(262144, "mtu 1392")
	netnstest.Run(t, h.ns, "ip link set dev "+l.Name+" gso_max_size 65536")
	netnstest.Run(t, ep, "ip -6 route change default via fe80::1 dev eth0 metric "+metricOf(t, ep)+" mtu 1300 proto 206")
	if err := h.Check(t.Context(), l); err == nil {
		t.Error("Check misses nothing")
	}
	sized(262144, "mtu 1392")
	sized(desired.PlainSegments, "")
}

// Packets that stay on the host may be larger: on, with another prefix, changed by somebody else, and off again.
func TestLargerWithinTheHost(t *testing.T) {
	netnstest.Root(t)
	h, ep := newHost(t), netnstest.New(t)
	l, r, n := endpoint(1, ep, "eth0")
	one, two := netip.MustParsePrefix("fd5c:102:304:506::/64"), netip.MustParsePrefix("fd5c:102:304:507::/64")
	for _, c := range []struct {
		name                string
		near                int
		home                netip.Prefix
		link                string
		home1, home2, other string
	}{
		{"from the beginning", desired.NearMTU, one, "mtu 65535", "via fe80::1", "", "mtu 1400"},
		{"off", 0, netip.Prefix{}, "mtu 1400", "", "", "via fe80::1"},
		{"on", desired.NearMTU, one, "mtu 65535", "via fe80::1", "", "mtu 1400"},
		{"another prefix", desired.NearMTU, two, "mtu 65535", "", "via fe80::1", "mtu 1400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.Near, l.Home = c.near, c.home
			for range 2 {
				if err := h.add(l, r, n); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.Check(t.Context(), l); err != nil {
				t.Error(err)
			}
			for _, is := range []struct {
				ns   *netns.NS
				line string
				want string
			}{
				{h.ns, "ip link show " + l.Name, c.link},
				{ep, "ip link show eth0", c.link},
				{ep, "ip -6 route show " + one.String(), c.home1},
				{ep, "ip -6 route show " + two.String(), c.home2},
				{ep, "ip -6 route show default", c.other},
			} {
				if out := netnstest.Run(t, is.ns, is.line); !strings.Contains(out, is.want) || is.want == "" && out != "" {
					t.Errorf("%s: %q, want %q", is.line, out, is.want)
				}
			}
		})
	}
	netnstest.Run(t, ep, "ip -6 route del "+two.String())
	netnstest.Run(t, ep, "ip -6 route add 3fff::/64 via fe80::1 dev eth0")
	if err := h.Check(t.Context(), l); err == nil {
		t.Error("Check does not miss the route")
	}
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	if out := netnstest.Run(t, ep, "ip -6 route show"); !strings.Contains(out, two.String()) || !strings.Contains(out, "3fff::/64") {
		t.Errorf("a route is not back, or one of the endpoint's own is gone:\n%s", out)
	}
}

func metricOf(t *testing.T, ns *netns.NS) string {
	t.Helper()
	words := strings.Fields(netnstest.Run(t, ns, "ip -6 route show default"))
	for i, w := range words {
		if w == "metric" {
			return words[i+1]
		}
	}
	t.Fatal("the default route has no metric")
	return ""
}

func wide(t *testing.T, ns *netns.NS, name string) [2]int {
	t.Helper()
	table, err := Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	l, ok, err := table.conn.Link(name)
	if err != nil || !ok {
		t.Fatal(name, ok, err)
	}
	return [2]int{l.Segments, l.Merged}
}

// Uplinks are made wider, never narrower, and one that is not there is nobody's fault.
func TestWiden(t *testing.T) {
	netnstest.Root(t)
	h := newHost(t)
	netnstest.Run(t, h.ns, "ip link add up0 type veth peer name p0")
	for _, c := range []struct{ ask, want int }{{131072, 131072}, {100000, 131072}, {262144, 262144}} {
		if err := h.Widen([]string{"up0", "absent"}, c.ask); err != nil {
			t.Fatal(err)
		}
		if have := wide(t, h.ns, "up0"); have != [2]int{c.want, c.want} {
			t.Errorf("asked for %d: %v, want %d", c.ask, have, c.want)
		}
	}
	if err := h.Widen([]string{"up0"}, 1<<30); err == nil {
		t.Error("more than the device cuts was not refused")
	}
}
