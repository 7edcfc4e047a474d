package bgp_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

// RFC 4271 6.8, 8.2.2: two speakers that call each other at the same moment, over and over, have every session in the end.
func TestRFC4271_Collisions(t *testing.T) {
	t.Parallel()
	const sessions = 50
	host, router := link(t)
	address := func(end byte, n int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0xf, 0, 1, 14: byte(n), 15: end})
	}
	for n := range sessions {
		for _, e := range []struct {
			place
			link        string
			mine, other byte
		}{{host, "eth0", 1, 2}, {router, "swp1", 2, 1}} {
			e.run(fmt.Sprintf("ip addr add %s/128 dev %s nodad", address(e.mine, n), e.link))
			e.run(fmt.Sprintf("ip route add %s dev %s src %s", address(e.other, n), e.link, address(e.mine, n)))
		}
	}
	speakers := []struct {
		*speaker
		order bgp.Config
	}{
		{start(t, host), bgp.Config{Speaker: announce.Speaker{ASN: 65539, RouterID: netip.MustParseAddr("192.0.2.2")}}},
		{start(t, router), bgp.Config{Speaker: announce.Speaker{ASN: 65538, RouterID: netip.MustParseAddr("192.0.2.1")}}},
	}
	for i, s := range speakers {
		for n := range sessions {
			p := numbered(fmt.Sprint(n))
			p.Addr, p.ASN = address(byte(2-i), n), speakers[1-i].order.ASN
			s.order.Peers = append(s.order.Peers, p)
		}
		s.tell(order{Config: &s.order})
	}
	signal := func(sig unix.Signal) {
		for _, s := range speakers {
			if err := s.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	// They stand still until the timers of all calls have run out (2 s in GoBGP), and then call at once: nothing tells of timers in
	// other processes.
	signal(unix.SIGSTOP)
	time.Sleep(2100 * time.Millisecond)
	signal(unix.SIGCONT)
	for _, s := range speakers {
		eventually(t, "every session established", func() bool {
			up := 0
			for _, p := range s.tell(order{}).Peers {
				if p.State == bgp.Established {
					up++
				}
			}
			return up == sessions
		})
	}
}
