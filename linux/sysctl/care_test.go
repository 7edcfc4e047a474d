package sysctl_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
)

// segment is a host with one uplink, and a router at the other end.
type segment struct {
	host, router *netns.NS
	care         *sysctl.Care
	settings     *sysctl.Table
	routes       *rtnl.Subscription
	icmp         int // a raw ICMPv6 socket of the router
}

const uplink = "up0"

func newSegment(t *testing.T) *segment {
	t.Helper()
	s := &segment{host: netnstest.New(t), router: netnstest.New(t)}
	s.settings = sysctl.Open(s.host)
	// Without duplicate address detection the uplink is ready when it is up; a test need not wait for it.
	err := errors.Join(s.settings.Write(sysctl.IPv6("default", "accept_dad"), "0"),
		sysctl.Open(s.router).Write(sysctl.IPv6("all", "forwarding"), "1")) // a router hears what is sent to all routers
	if err != nil {
		t.Fatal(err)
	}
	ll := netip.MustParsePrefix("fe80::99/64")
	netnstest.Connect(t, netnstest.End{NS: s.router, Name: "rt0", Addrs: []netip.Prefix{ll}, Quiet: true}, netnstest.End{NS: s.host, Name: uplink})
	if s.care, err = sysctl.OpenCare(s.host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.care.Close() })
	s.care.SetRun(t.TempDir())
	if s.routes, err = rtnl.Subscribe(s.host, rtnl.Routes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.routes.Close() })
	netnstest.Do(t, s.router, func() (err error) {
		s.icmp, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		return err
	})
	t.Cleanup(func() { unix.Close(s.icmp) })
	for option, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: s.index(t, s.router, "rt0")} {
		if err := unix.SetsockoptInt(s.icmp, unix.IPPROTO_IPV6, option, value); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *segment) index(t *testing.T, ns *netns.NS, name string) int {
	t.Helper()
	c, err := rtnl.Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, ok, err := c.Link(name)
	if err != nil || !ok {
		t.Fatalf("link %s: %v, %v", name, ok, err)
	}
	return l.Index
}

// advertise sends a router advertisement (RFC 4861 4.2) with a lifetime of half an hour and waits for the default route.
func (s *segment) advertise(t *testing.T) {
	t.Helper()
	ra := []byte{134, 0, 0, 0, 64, 0, 1800 >> 8, 1800 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0}
	all := &unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 2, 15: 1}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// The link's ends come up one after the other: an advertisement that was too early is sent again.
	for ctx.Err() == nil {
		if err := unix.Sendto(s.icmp, ra, 0, all); err != nil {
			t.Fatalf("send an advertisement: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		events, err := s.routes.Receive(short)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Route != nil && !e.Gone && e.Route.Protocol == unix.RTPROT_RA && e.Route.Dst.Bits() == 0 {
				return
			}
		}
	}
	t.Fatalf("no default route from the advertisement:\n%s", netnstest.Run(t, s.host, "ip -6 route"))
}

func (s *segment) hasDefault(t *testing.T) bool {
	t.Helper()
	return strings.Contains(netnstest.Run(t, s.host, "ip -6 route show default"), "default via fe80::99 dev "+uplink+" proto ra")
}

func (s *segment) set(t *testing.T, link, setting, value string) {
	t.Helper()
	if err := s.settings.Write(sysctl.IPv6(link, setting), value); err != nil {
		t.Fatal(err)
	}
}

func (s *segment) get(t *testing.T, link, setting string) string {
	t.Helper()
	v, err := s.settings.Read(sysctl.IPv6(link, setting))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRFC4861_6_3_4_DefaultRouteSurvivesForwarding shows the trap twice without the care, and its absence with it.
func TestRFC4861_6_3_4_DefaultRouteSurvivesForwarding(t *testing.T) {
	t.Run("without care the route vanishes", func(t *testing.T) {
		s := newSegment(t)
		s.advertise(t)
		s.set(t, "all", "forwarding", "1")
		if s.hasDefault(t) {
			t.Error("the default route stays without any care: this test proves nothing")
		}
	})
	t.Run("with accept_ra on all it vanishes too", func(t *testing.T) {
		s := newSegment(t)
		s.advertise(t)
		s.set(t, "all", "accept_ra", "2")
		s.set(t, "all", "forwarding", "1")
		if s.hasDefault(t) {
			t.Error("conf.all.accept_ra works on this kernel: the rule 'never all' has lost its reason")
		}
	})
	for _, named := range [][]string{{uplink}, nil} {
		t.Run(fmt.Sprintf("with care it stays, uplinks named: %v", named), func(t *testing.T) {
			s := newSegment(t)
			s.advertise(t)
			report, err := s.care.Reconcile(context.Background(), named)
			if err != nil {
				t.Fatal(err)
			}
			want := []sysctl.Key{sysctl.IPv6(uplink, "accept_ra"), sysctl.IPv6("all", "forwarding")}
			if d := cmp.Diff(want, report.Delta.Change); d != "" {
				t.Errorf("changed, in order (-want +have):\n%s", d)
			}
			if !s.hasDefault(t) {
				t.Error("the default route vanished")
			}
			if got := s.get(t, "all", "accept_ra") + s.get(t, "default", "accept_ra"); got != "11" {
				t.Errorf("accept_ra of all and default: %s", got)
			}
			if report, err = s.care.Reconcile(context.Background(), named); err != nil || !report.Empty() || len(report.Left) > 0 {
				t.Errorf("second look: %+v, %v", report, err)
			}
		})
	}
}

func TestCareNamesUplinksThatLostTheirRoute(t *testing.T) {
	s := newSegment(t)
	s.advertise(t)
	s.set(t, "all", "forwarding", "1")
	for _, deaf := range [][]string{{uplink}, nil} {
		report, err := s.care.Reconcile(context.Background(), []string{uplink})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(deaf, report.Deaf); d != "" {
			t.Errorf("lost their route (-want +have):\n%s", d)
		}
		if d := cmp.Diff([]string{uplink}, report.Cared); d != "" {
			t.Errorf("looked after (-want +have):\n%s", d)
		}
	}
	s.advertise(t)
	if !s.hasDefault(t) {
		t.Error("an advertisement does not bring the default route back")
	}
}

func TestCareLeavesAlone(t *testing.T) {
	for _, tc := range []struct {
		name, file, text string
		acceptRA         string
		want             []desired.Undone
	}{
		{"networkd", "systemd/netif/links/%d", "# private\nADMIN_STATE=configured\nOPER_STATE=routable\n", "1",
			[]desired.Undone{{Kind: "uplink", Name: uplink, Why: sysctl.OwnedByNetworkd}}},
		{"NetworkManager", "NetworkManager/devices/%d", "[device]\nmanaged=true\n", "1",
			[]desired.Undone{{Kind: "uplink", Name: uplink, Why: sysctl.OwnedByNM}}},
		{"another client", "", "", "0",
			[]desired.Undone{{Kind: "uplink", Name: uplink, Why: sysctl.OwnedByOther}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSegment(t)
			if tc.file != "" {
				run := t.TempDir()
				file := filepath.Join(run, fmt.Sprintf(tc.file, s.index(t, s.host, uplink)))
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(tc.text), 0o644)); err != nil {
					t.Fatal(err)
				}
				s.care.SetRun(run)
			} else {
				netnstest.Run(t, s.host, "ip -6 route add default via fe80::99 dev "+uplink+" proto ra")
			}
			s.set(t, uplink, "accept_ra", tc.acceptRA)
			report, err := s.care.Reconcile(context.Background(), []string{uplink})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, report.Left); d != "" {
				t.Errorf("left alone (-want +have):\n%s", d)
			}
			if got := s.get(t, uplink, "accept_ra"); got != tc.acceptRA {
				t.Errorf("accept_ra is %s", got)
			}
		})
	}
	t.Run("unmanaged by networkd", func(t *testing.T) {
		s := newSegment(t)
		run := t.TempDir()
		file := filepath.Join(run, fmt.Sprintf("systemd/netif/links/%d", s.index(t, s.host, uplink)))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("ADMIN_STATE=unmanaged\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		s.care.SetRun(run)
		if _, err := s.care.Reconcile(context.Background(), []string{uplink}); err != nil || s.get(t, uplink, "accept_ra") != "2" {
			t.Errorf("accept_ra is %s, %v", s.get(t, uplink, "accept_ra"), err)
		}
	})
}

func TestCareNamesAMissingUplink(t *testing.T) {
	s := newSegment(t)
	report, err := s.care.Reconcile(context.Background(), []string{"eno1"})
	want := []desired.Undone{{Kind: "uplink", Name: "eno1", Why: desired.UplinkMissing}}
	if d := cmp.Diff(want, report.Left); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	if s.get(t, "all", "forwarding") != "1" {
		t.Error("forwarding is off although nothing could be lost")
	}
}
