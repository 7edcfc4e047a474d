package agent_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent"
	"hexapod.dev/agent/local"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// delegatedPlan is a host without number and prefix: SOURCE says where it gets one.
const delegatedPlan = oneRack + `
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {clock: trusted, uplinks: [{name: up0, prefixSource: SOURCE}]}
`

func planWith(source string) string { return strings.ReplaceAll(delegatedPlan, "SOURCE", source) }

var (
	poolA = netip.MustParsePrefix("2001:db8:60::/48")
	poolB = netip.MustParsePrefix("2001:db8:61::/48")
)

// short is a lease that ends while a test looks on; long is one that does not.
var (
	short = times{T1: 2, T2: 4, Preferred: 8, Valid: 10}
	long  = times{T1: 2, T2: 400, Preferred: 500, Valid: 600}
)

// add adds an endpoint and checks that its address lies in pool.
func (h *host) add(a cni.Backend, name string, pool netip.Prefix) (cni.Request, string) {
	h.t.Helper()
	r := h.endpoint(name)
	got, err := a.Add(h.t.Context(), r)
	if err != nil {
		h.t.Fatalf("ADD %s: %v", name, err)
	}
	if !pool.Contains(got.Addrs[0]) {
		h.t.Fatalf("endpoint %s has %s, want one of %s", name, got.Addrs[0], pool)
	}
	h.reaches(got.Addrs[0].String())
	return r, got.Addrs[0].String()
}

// logged waits until the agent's log has all of these words in one line.
func (h *host) logged(words ...string) {
	h.t.Helper()
	until(h.t, "logged: "+strings.Join(words, " "), func() bool {
		for line := range strings.Lines(h.log.String()) {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

func (h *host) delegationIs(state local.State) {
	h.t.Helper()
	until(h.t, "the delegation is "+string(state), func() bool { return h.object("delegation", "up0").State == state })
}

// A whole life against Kea: get, renew, server gone, rebind, expiry drains, a new prefix for new endpoints (RFC 8415 18.2).
func TestRFC8415_LifeOfADelegation(t *testing.T) {
	t.Parallel()
	h, router := newRoutedHost(t, planWith("dhcpv6-pd"))
	a := h.start()
	refused := func(name string) {
		t.Helper()
		r := h.endpoint(name)
		var code *cni.Error
		if _, err := a.Add(t.Context(), r); !errors.As(err, &code) || code.Code != cni.CodeTryAgain || !strings.Contains(err.Error(), "no prefix") {
			t.Fatalf("ADD without a prefix: %v, want to be told to try again", err)
		}
	}
	refused("early")
	if err := a.Status(t.Context()); err == nil {
		t.Error("STATUS says that endpoints can be added")
	}

	kea := h.kea(router, poolA, short)
	h.delegationIs(local.Done)
	_, first := h.add(a, "first", poolA)
	h.logged("state=bound", "was=renewing")

	kea.kill()
	h.logged("state=rebinding", "was=renewing")
	h.delegationIs(local.Failed)
	if why := h.object("delegation", "up0").Why; !strings.Contains(why, "not renewed") {
		t.Errorf("why: %q", why)
	}
	refused("while it drains")
	h.reaches(first)
	h.logged("state=soliciting", "was=rebinding")
	until(t, "the endpoint is shown as cut off", func() bool { return h.object("endpoint", "first/eth0").State == local.Failed })
	h.reaches(first) // from the host itself: nothing of it was taken down
	refused("after the end")

	h.kea(router, poolB, long)
	h.delegationIs(local.Done)
	if err := a.Status(t.Context()); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	h.add(a, "second", poolB)
	h.reaches(first)
	routes := netnstest.Run(t, h.ns, "ip -6 route show proto 206 type unreachable")
	if strings.Contains(routes, "2001:db8:60:") || !strings.Contains(routes, "2001:db8:61:") {
		t.Errorf("discard routes:\n%s", routes)
	}
}

// The server gives another prefix while the first one is valid: new endpoints have the new one, the others go on, and so it is
// after a restart of the agent (RFC 8415 18.2.10.1, 18.2.12).
func TestRFC8415_18_2_10_1_AnotherPrefix(t *testing.T) {
	t.Parallel()
	h, router := newRoutedHost(t, planWith("dhcpv6-pd"))
	a := h.start()
	kea := h.kea(router, poolA, long)
	h.delegationIs(local.Done)
	_, first := h.add(a, "first", poolA)

	kea.kill()
	h.kea(router, poolB, long)
	until(t, "the prefix is another one", func() bool { return strings.Contains(h.object("delegation", "up0").Detail, "2001:db8:61:") })
	_, second := h.add(a, "second", poolB)
	h.reaches(first)
	if o := h.object("endpoint", "first/eth0"); o.State != local.Done {
		t.Errorf("the endpoint in the older prefix: %+v", o)
	}
	routes := netnstest.Run(t, h.ns, "ip -6 route show proto 206 type unreachable")
	if !strings.Contains(routes, "2001:db8:60:") || !strings.Contains(routes, "2001:db8:61:") {
		t.Errorf("discard routes:\n%s", routes)
	}

	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	a = h.start()
	h.delegationIs(local.Done)
	h.add(a, "third", poolB)
	h.reaches(first)
	h.reaches(second)
}

// RFC 8415 18.2.7: what a host does not use any more is given back, and the next life of it asks anew.
func TestRFC8415_18_2_7_GivenBackByCleanup(t *testing.T) {
	t.Parallel()
	h, router := newRoutedHost(t, planWith("dhcpv6-pd"))
	h.start()
	h.kea(router, poolA, long)
	h.delegationIs(local.Done)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"prefixes given back to the DHCPv6 server: 1\n", ""} {
		report, err := agent.Cleanup(t.Context(), h.options(), false)
		if err != nil || !strings.Contains(report, want) || want == "" && strings.Contains(report, "prefixes") {
			t.Errorf("--cleanup: %v\n%swant: %s", err, report, want)
		}
	}
	a := h.start()
	h.delegationIs(local.Done)
	h.add(a, "first", poolA)
}

// RFC 9762 6: a host asks for a prefix when a router on its link says by the P flag that they are delegated, and not before.
func TestRFC9762_6_FlagOfARouterBeginsIt(t *testing.T) {
	t.Parallel()
	h, router := newRoutedHost(t, planWith("auto"))
	a := h.start()
	h.kea(router, poolA, long)
	advertise(t, router, 0xc0) // on-link, autonomous: a link without delegation
	until(t, "the router is heard", func() bool {
		return strings.Contains(netnstest.Run(t, h.ns, "ip -6 route show default"), "proto ra")
	})
	if o := h.object("delegation", "up0"); o.State != local.Pending || !strings.Contains(o.Why, "RFC 9762") {
		t.Fatalf("without the flag: %+v", o)
	}
	until(t, "the delegation is done after the flag", func() bool {
		advertise(t, router, 0xd0)
		return h.object("delegation", "up0").State == local.Done
	})
	h.add(a, "first", poolA)
}

// advertise sends a router advertisement (RFC 4861 4.2) with one prefix and its flags (4.6.2).
func advertise(t *testing.T, router *netns.NS, flags byte) {
	t.Helper()
	ra := []byte{134, 0, 0, 0, 64, 0, 1800 >> 8, 1800 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0}
	ra = append(ra, 3, 4, 64, flags, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0, 0xfd, 0x5e, 0, 1, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0)
	netnstest.Do(t, router, func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const hopLimit = 255 // RFC 4861 6.1.2
		link, err := net.InterfaceByName("rt0")
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hopLimit),
			unix.Sendto(fd, ra, 0, &unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 2, 15: 1}, ZoneId: uint32(link.Index)}),
		)
	})
}
