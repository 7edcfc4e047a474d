package router_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/router"
	"hexapod.dev/linux/sysctl"
)

const lost, got = "lost", "got"

func TestRFC4861_6_3_7_LostRouteIsAskedFor(t *testing.T) {
	host, peer := netnstest.New(t), netnstest.New(t)
	if err := errors.Join(
		sysctl.Open(peer).Write(sysctl.IPv6("all", "forwarding"), "1"),               // a router hears what is sent to all routers
		sysctl.Open(host).Write(sysctl.IPv6("default", "router_solicitations"), "0"), // the kernel's own would be taken for ours
	); err != nil {
		t.Fatal(err)
	}
	netnstest.Connect(t,
		netnstest.End{NS: host, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}, Quiet: true},
		netnstest.End{NS: peer, Name: "rt0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::99/64")}, Quiet: true})
	var icmp int
	netnstest.Do(t, peer, func() (err error) {
		icmp, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		return err
	})
	defer unix.Close(icmp)
	if err := unix.SetsockoptTimeval(icmp, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	const add = "ip -6 route add default via fe80::99 dev up0 proto ra expires 1000"
	netnstest.Run(t, host, add)

	w, err := router.Open(host)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	care := func(uplinks, deaf []string) {
		t.Helper()
		if err := w.Care(uplinks, deaf); err != nil {
			t.Fatal(err)
		}
	}
	care([]string{"up0"}, nil)
	told := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		close(ready)
		done <- w.Run(ctx, func(l router.Link, err error) {
			if err != nil {
				told <- err.Error()
			} else {
				told <- map[bool]string{true: lost, false: got}[l.Lost]
			}
		})
	}()
	<-ready
	seen := func() []router.Link {
		t.Helper()
		links, err := w.Links()
		if err != nil {
			t.Fatal(err)
		}
		return links
	}
	await := func(what string) {
		t.Helper()
		select {
		case have := <-told:
			if have != what {
				t.Fatalf("told %q, want %q", have, what)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("not told %q", what)
		}
	}
	links := seen()
	if len(links) != 1 || len(links[0].Routes) != 1 || links[0].Routes[0].Expires <= 900*time.Second || links[0].Routes[0].Expires > 1000*time.Second {
		t.Fatalf("the route and its expiry: %+v", links)
	}
	netnstest.Run(t, host, "ip -6 route del default")
	await(lost)
	for buf := make([]byte, 1500); ; {
		n, _, err := unix.Recvfrom(icmp, buf, 0)
		if err != nil {
			t.Fatalf("no solicitation came: %v", err)
		}
		if n >= 8 && buf[0] == 133 { // RFC 4861 4.1
			break
		}
	}
	if d := cmp.Diff([]router.Link{{Name: "up0", Lost: true, Asked: 1}}, seen(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("links (-want +have):\n%s", d)
	}
	if w.Asked() == 0 {
		t.Error("the solicitation is not counted")
	}
	netnstest.Run(t, host, add)
	await(got)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A link that somebody else looks after is not asked on, and one that is not there is no failure.
func TestOnlyUplinksInCareAreAsked(t *testing.T) {
	ns := netnstest.New(t)
	w, err := router.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, uplinks := range [][]string{{"up0", "up1"}, {"up1"}} {
		if err := w.Care(uplinks, nil); err != nil {
			t.Fatal(err)
		}
	}
	links, err := w.Links()
	if d := cmp.Diff([]router.Link{{Name: "up1"}}, links); err != nil || d != "" {
		t.Errorf("%v (-want +have):\n%s", err, d)
	}
	if err := router.Solicit(ns, 4711); err == nil {
		t.Error("a link that does not exist was asked")
	}
}
