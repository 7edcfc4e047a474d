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

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/router"
	"hexapod.dev/linux/sysctl"
)

const lost, got = "lost", "got"

// watched is a host whose uplink up0 leads to a router, with a Watch that runs.
type watched struct {
	t     *testing.T
	host  *netns.NS
	watch *router.Watch
	icmp  int         // a raw ICMPv6 socket of the router
	told  chan string // lost, got, or an error
}

// addDefault adds what an advertisement would.
const addDefault = "ip -6 route add default via fe80::99 dev up0 proto ra expires 1000"

func newWatched(t *testing.T) *watched {
	t.Helper()
	s := &watched{t: t, host: netnstest.New(t), told: make(chan string, 10)}
	peer := netnstest.New(t)
	if err := errors.Join(
		sysctl.Open(peer).Write(sysctl.IPv6("all", "forwarding"), "1"),                 // a router hears what is sent to all routers
		sysctl.Open(s.host).Write(sysctl.IPv6("default", "router_solicitations"), "0"), // the kernel's own would be taken for ours
	); err != nil {
		t.Fatal(err)
	}
	netnstest.Connect(t,
		netnstest.End{NS: s.host, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}, Quiet: true},
		netnstest.End{NS: peer, Name: "rt0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::99/64")}, Quiet: true})
	netnstest.Do(t, peer, func() (err error) {
		s.icmp, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		return err
	})
	t.Cleanup(func() { _ = unix.Close(s.icmp) })
	if err := unix.SetsockoptTimeval(s.icmp, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, s.host, addDefault)
	var err error
	if s.watch, err = router.Open(s.host); err != nil {
		t.Fatal(err)
	}
	if err := s.watch.Care([]string{"up0"}, nil); err != nil {
		t.Fatal(err)
	}
	s.run()
	return s
}

// run runs the watch until the test ends.
func (s *watched) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.watch.Run(ctx, func(l router.Link, err error) {
			if err != nil {
				s.told <- err.Error()
			} else {
				s.told <- map[bool]string{true: lost, false: got}[l.Lost]
			}
		})
	}()
	s.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, s.watch.Close()); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *watched) links() []router.Link {
	s.t.Helper()
	links, err := s.watch.Links()
	if err != nil {
		s.t.Fatal(err)
	}
	return links
}

func (s *watched) await(what string) {
	s.t.Helper()
	select {
	case have := <-s.told:
		if have != what {
			s.t.Fatalf("told %q, want %q", have, what)
		}
	case <-time.After(time.Minute):
		s.t.Fatalf("not told %q", what)
	}
}

// solicited waits until the router is asked.
func (s *watched) solicited() {
	s.t.Helper()
	for buf := make([]byte, 1500); ; {
		n, _, err := netnstest.Receive(s.icmp, buf)
		if err != nil {
			s.t.Fatalf("no solicitation came: %v", err)
		}
		if n >= 8 && buf[0] == 133 { // RFC 4861 4.1
			return
		}
	}
}

func TestRFC4861_6_3_7_LostRouteIsAskedFor(t *testing.T) {
	s := newWatched(t)
	links := s.links()
	if len(links) != 1 || len(links[0].Routes) != 1 || links[0].Routes[0].Expires <= 900*time.Second || links[0].Routes[0].Expires > 1000*time.Second {
		t.Fatalf("the route and its expiry: %+v", links)
	}
	netnstest.Run(t, s.host, "ip -6 route del default")
	s.await(lost)
	s.solicited()
	if d := cmp.Diff([]router.Link{{Name: "up0", Lost: true, Asked: 1}}, s.links(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("links (-want +have):\n%s", d)
	}
	if s.watch.Asked() == 0 {
		t.Error("the solicitation is not counted")
	}
	netnstest.Run(t, s.host, addDefault)
	s.await(got)
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
