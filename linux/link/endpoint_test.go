package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/neigh"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// host is a namespace with the tables that work on it.
type host struct {
	*Table
	ns     *netns.NS
	routes *route.Table
	neighs *neigh.Table
}

func newHost(t testing.TB) *host {
	t.Helper()
	ns := netnstest.New(t)
	h := &host{ns: ns}
	var errs [3]error
	h.Table, errs[0] = Open(ns)
	h.routes, errs[1] = route.Open(ns, route.Protocol)
	h.neighs, errs[2] = neigh.Open(ns, neigh.Protocol)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Table.Close(), h.routes.Close(), h.neighs.Close()); err != nil {
			t.Error(err)
		}
	})
	netnstest.Run(t, ns, "ip link set lo up")
	return h
}

// endpoint is the wanted link of endpoint number i in ns, and what the host needs for it.
func endpoint(i int, ns *netns.NS, ifname string) (desired.Link, desired.Route, desired.Neighbour) {
	key := desired.EndpointKey{Container: fmt.Sprintf("c%d", i), Interface: ifname}
	a := netip.AddrFrom16([16]byte{0xfd, 0x5c, 1, 2, 3, 4, 5, 6, 1, byte(len(ifname)), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
	l := desired.Link{
		Key: key, Name: desired.LinkName(key), NetNS: ns.Path(),
		HostMAC: desired.HostMAC(key), MAC: desired.EndpointMAC(key), Addrs: []netip.Addr{a}, Sizes: desired.Sizes{MTU: 1400, Segments: desired.PlainSegments},
	}
	return l, desired.Route{Dst: netip.PrefixFrom(a, 128), Link: l.Name}, desired.Neighbour{Link: l.Name, Addr: a, MAC: l.MAC}
}

func (h *host) add(l desired.Link, r desired.Route, n desired.Neighbour) error {
	return h.Ensure(context.Background(), l, h.routes.Part(r), h.neighs.Part(n))
}

// reconcile makes everything as wanted and returns the three deltas.
func (h *host) reconcile(t testing.TB, links []desired.Link, routes []desired.Route, neighs []desired.Neighbour) string {
	t.Helper()
	ctx := context.Background()
	dl, errL := h.Reconcile(ctx, links)
	dr, errR := h.routes.Reconcile(ctx, routes)
	dn, errN := h.neighs.Reconcile(ctx, neighs)
	if err := errors.Join(errL, errR, errN); err != nil {
		t.Fatal(err)
	}
	if dl.Empty() && dr.Empty() && dn.Empty() {
		return ""
	}
	return fmt.Sprintf("links %v routes %v neighbours %v", dl, dr, dn)
}

var indices = regexp.MustCompile(`(?m)^\d+: |@if\d+|@\S+| qlen \d+| link-netnsid \d+`)

// show is what an operator sees of a namespace, numbers that differ from run to run left out.
func show(t testing.TB, ns *netns.NS, link string) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{
		"ip -br link show dev " + link, "ip -6 -br addr show dev " + link,
		"ip -6 route show dev " + link, "ip -6 neigh show dev " + link,
	} {
		out := netnstest.Run(t, ns, line)
		if out != "" {
			fmt.Fprintf(&b, "# %s\n%s", line, indices.ReplaceAllString(out, ""))
		}
	}
	return strings.Join(strings.FieldsFunc(b.String(), func(r rune) bool { return r == ' ' || r == '\t' }), " ")
}

const hostGolden = `# ip -br link show dev hxNAME
hxNAME UP HOSTMAC <BROADCAST,MULTICAST,UP,LOWER_UP> 
# ip -6 -br addr show dev hxNAME
hxNAME UP fe80::1/128 
# ip -6 route show dev hxNAME
fd5c:102:304:506:104::1 proto 206 metric 1024 pref medium
# ip -6 neigh show dev hxNAME
fd5c:102:304:506:104::1 lladdr MAC PERMANENT proto 206 
`

const insideGolden = `# ip -br link show dev eth0
eth0 UP MAC <BROADCAST,MULTICAST,UP,LOWER_UP> 
# ip -6 -br addr show dev eth0
eth0 UP fd5c:102:304:506:104::1/128 
# ip -6 route show dev eth0
fd5c:102:304:506:104::1 proto kernel metric 256 pref medium
default via fe80::1 proto 206 metric METRIC pref medium
# ip -6 neigh show dev eth0
fe80::1 lladdr HOSTMAC PERMANENT proto 206 
`

func golden(l desired.Link, text string) string {
	return strings.NewReplacer("hxNAME", l.Name, "HOSTMAC", l.HostMAC.String(), "MAC", l.MAC.String()).Replace(text)
}

var metric = regexp.MustCompile(`metric 10(2[5-9]|3\d)`)

func checkGoldens(t testing.TB, h *host, ep *netns.NS, l desired.Link) {
	t.Helper()
	if d := cmp.Diff(golden(l, hostGolden), show(t, h.ns, l.Name)); d != "" {
		t.Errorf("host side (-want +have):\n%s", d)
	}
	have := metric.ReplaceAllString(show(t, ep, "eth0"), "metric METRIC")
	if d := cmp.Diff(golden(l, insideGolden), have); d != "" {
		t.Errorf("inside (-want +have):\n%s", d)
	}
}

func TestEnsureFromNothing(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	l, r, n := endpoint(1, ep, "eth0")
	for range 2 {
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		checkGoldens(t, h, ep, l)
		if err := h.Check(context.Background(), l); err != nil {
			t.Error(err)
		}
		if out := netnstest.Run(t, h.ns, "ip link show dev "+l.Name); !strings.Contains(out, "alias hexapod:c1/eth0") || !strings.Contains(out, "mtu 1400") {
			t.Errorf("alias or mtu is missing:\n%s", out)
		}
		if delta := h.reconcile(t, []desired.Link{l}, []desired.Route{r}, []desired.Neighbour{n}); delta != "" {
			t.Errorf("a reconcile after Ensure changed %s", delta)
		}
	}
	if lo := netnstest.Run(t, ep, "ip link show dev lo"); strings.Contains(lo, "UP") {
		t.Errorf("lo of the endpoint was touched:\n%s", lo)
	}
	netnstest.Run(t, ep, "ping -6 -c1 -w10 fe80::1%eth0")
	netnstest.Run(t, h.ns, "ping -6 -c1 -w10 "+l.Addrs[0].String())
}

func TestSeveralInterfacesOfOneEndpoint(t *testing.T) {
	h, ep := newHost(t), netnstest.New(t)
	var links []desired.Link
	for _, ifname := range []string{"eth0", "net12"} {
		l, r, n := endpoint(1, ep, ifname)
		if err := h.add(l, r, n); err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	for _, l := range links {
		if err := h.Check(context.Background(), l); err != nil {
			t.Error(err)
		}
	}
	if out := netnstest.Run(t, ep, "ip -6 route show default"); strings.Count(out, "default via fe80::1") != 2 || strings.Contains(out, "nexthop") {
		t.Errorf("want two default routes of their own:\n%s", out)
	}
	if err := h.Retire(context.Background(), links[1].Key); err != nil {
		t.Fatal(err)
	}
	if err := h.Reap(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(context.Background(), links[0]); err != nil {
		t.Errorf("removing one interface hurt the other: %v", err)
	}
}

// errCut stands for kill -9.
var errCut = errors.New("cut")

// cutAfter makes the table end after n more messages, in the middle of a send or between two.
func (t *Table) cutAfter(n int) {
	t.do = func(c *rtnl.Conn, requests ...*rtnl.Request) error {
		take := min(n, len(requests))
		n -= take
		if err := c.Do(requests[:take]...); err != nil {
			return err
		}
		if take < len(requests) {
			return errCut
		}
		return nil
	}
}

func TestEnsureConvergesAfterEveryCut(t *testing.T) {
	cuts := 0
	for ; ; cuts++ {
		h, ep := newHost(t), netnstest.New(t)
		l, r, n := endpoint(1, ep, "eth0")
		h.cutAfter(cuts)
		err := h.add(l, r, n)
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatalf("cut after %d messages: %v", cuts, err)
		}
		h.do = (*rtnl.Conn).Do
		if cuts > 0 && h.Check(context.Background(), l) == nil && cuts < 12 {
			t.Logf("cut after %d messages leaves nothing to do", cuts)
		}
		if cuts%2 == 0 {
			err = h.add(l, r, n)
		} else {
			h.reconcile(t, []desired.Link{l}, []desired.Route{r}, []desired.Neighbour{n})
			err = nil
		}
		if err != nil {
			t.Fatalf("after a cut after %d messages: %v", cuts, err)
		}
		checkGoldens(t, h, ep, l)
		if delta := h.reconcile(t, []desired.Link{l}, []desired.Route{r}, []desired.Neighbour{n}); delta != "" {
			t.Errorf("after a cut after %d messages: a second reconcile changed %s", cuts, delta)
		}
	}
	if cuts < 12 {
		t.Errorf("Ensure took only %d messages, the cuts miss some", cuts)
	}
}

// TestEnsureRepairs breaks a finished link in one way after the other.
func TestEnsureRepairs(t *testing.T) {
	const in, out = true, false
	for _, tc := range []struct {
		name   string
		inside bool
		broken string
	}{
		{"wrong MAC", out, "ip link set LINK address 02:00:00:00:00:99"},
		{"wrong MAC inside", in, "ip link set eth0 address 02:00:00:00:00:99"},
		{"down", out, "ip link set LINK down"},
		{"down inside", in, "ip link set eth0 down"},
		{"wrong MTU", out, "ip link set LINK mtu 1300"},
		{"wrong MTU inside", in, "ip link set eth0 mtu 1300"},
		{"address gone inside", in, "ip -6 addr flush dev eth0"},
		{"route gone inside", in, "ip -6 route del default"},
		{"neighbour gone inside", in, "ip -6 neigh flush dev eth0 nud permanent"},
		{"wrong neighbour inside", in, "ip -6 neigh replace fe80::1 dev eth0 lladdr 02:00:00:00:00:98 nud permanent"},
		{"address gone", out, "ip -6 addr flush dev LINK"},
		{"foreign address", out, "ip -6 addr add 3fff::1/64 dev LINK nodad"},
		{"alias gone", out, "ip link set LINK alias something"},
		{"in the reap group", out, "ip link set LINK group 26745"},
		{"advertisements accepted", out, "sysctl -qw net/ipv6/conf/LINK/accept_ra=2"},
		{"link-local addresses made", out, "ip link set LINK addrgenmode eui64"},
		{"renamed inside", in, "ip link set eth0 down name other"},
		{"gone", out, "ip link del LINK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, ep := newHost(t), netnstest.New(t)
			l, r, n := endpoint(1, ep, "eth0")
			if err := h.add(l, r, n); err != nil {
				t.Fatal(err)
			}
			ns := h.ns
			if tc.inside {
				ns = ep
			}
			netnstest.Run(t, ns, strings.ReplaceAll(tc.broken, "LINK", l.Name))
			if err := h.Check(context.Background(), l); err == nil {
				t.Error("Check sees nothing wrong")
			}
			if err := h.add(l, r, n); err != nil {
				t.Fatal(err)
			}
			checkGoldens(t, h, ep, l)
			if err := h.Check(context.Background(), l); err != nil {
				t.Error(err)
			}
		})
	}
}
