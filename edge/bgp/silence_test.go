package bgp_test

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

// RFC 8538 3, RFC 4724 4.2: of a host that hangs while its links are up a router keeps the routes past the hold time, but for a host whose
// routes are to end with that. A host that is killed keeps them either way.
func TestRFC8538_SilentHost(t *testing.T) {
	for _, kind := range []struct {
		name   string
		router func(*testing.T, place) (up, has func() bool)
		keeps  bool // it knows the N bit
	}{
		{"ours", ourRouter, true},
		{"FRR", silentFRR, true},
		{"BIRD", silentBIRD, false},
	} {
		for _, ends := range []bool{false, true} {
			if testing.Short() && (!ends || kind.name == "BIRD") {
				continue // make soak runs it
			}
			name := kind.name + " keeps"
			if ends {
				name = kind.name + " forgets"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				host, router := link(t)
				up, has := kind.router(t, router)
				s := start(t, host)
				c := config(quick(numbered("tor")))
				c.Peers[0].Restart.Silence = ends
				s.tell(order{Config: c})
				s.established("tor")
				eventually(t, "the router has the route", has)
				if err := s.cmd.Process.Signal(unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the session over", func() bool { return !up() })
				if keeps := kind.keeps && !ends; keeps {
					if !has() {
						t.Error("the route of a host that hangs is gone")
					}
				} else {
					eventually(t, "the route gone", func() bool { return !has() })
				}
				if testing.Short() {
					return
				}
				if err := s.cmd.Process.Signal(unix.SIGCONT); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the session back", up)
				eventually(t, "the route back", has)
				s.kill()
				eventually(t, "the connection broken", func() bool { return !up() })
				if !has() {
					t.Error("the route of a host that was killed is gone")
				}
			})
		}
	}
}

// quick has the shortest hold time there is (RFC 4271 4.2).
func quick(p announce.Peer) announce.Peer {
	p.HoldSeconds, p.KeepaliveSeconds = 3, 1
	return p
}

const ofTheHost = "2001:db8:a000:c12::/64"

// ourRouter is our own BGP as a router of a lab runs it.
func ourRouter(t *testing.T, ns place) (up, has func() bool) {
	s := start(t, ns)
	p := quick(numbered("host"))
	p.Addr, p.ASN = netip.MustParseAddr("2001:db8:f::1"), 4200000101
	s.tell(order{Config: &bgp.Config{Speaker: announce.Speaker{ASN: 65538, RouterID: netip.MustParseAddr("192.0.2.1"), Peers: []announce.Peer{p}}}})
	return func() bool { return s.peer("host").State == bgp.Established },
		func() bool { return len(s.tell(order{All: true}).Learned[pfx(ofTheHost)]) == 1 }
}

func silentFRR(t *testing.T, ns place) (up, has func() bool) {
	text := strings.Replace(frrConfig("2001:db8:f::1", ""), " no bgp default ipv4-unicast\n",
		" no bgp default ipv4-unicast\n bgp graceful-restart notification\n timers bgp 1 3\n neighbor 2001:db8:f::1 timers connect 1\n", 1)
	f := startFRR(t, ns, text)
	return func() bool {
			return strings.Contains(f.show("show bgp neighbors 2001:db8:f::1"), "BGP state = Established")
		},
		func() bool { return strings.Contains(f.kernel(), ofTheHost) }
}

func silentBIRD(t *testing.T, ns place) (up, has func() bool) {
	b := startBIRD(t, ns, birdConfig("neighbor 2001:db8:f::1 as 4200000101; hold time 3; keepalive time 1; error wait time 1, 2; connect delay time 1; connect retry time 1;"))
	return func() bool { return strings.Contains(b.show("show protocols host"), "Established") },
		func() bool { return strings.Contains(b.show("show route"), ofTheHost) }
}
