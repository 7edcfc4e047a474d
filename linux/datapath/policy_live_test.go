package datapath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/policy/policytest"
	"hexapod.dev/model/transport"
)

// livePorts is how many ports of each end listen: random worlds speak of port 0 to 11.
const livePorts = 11

// TestPoliciesOnLiveFlows sends datagrams between two endpoints and somebody outside, under random policies: what the rules accept arrives,
// what they deny is counted as denied and does not. 5 sets of policies, and 200 in a soak.
func TestPoliciesOnLiveFlows(t *testing.T) {
	sets := 5
	if os.Getenv("HEXAPOD_SOAK") != "" {
		sets = 200
	}
	b := newBench(t)
	writer, err := b.table.Policies()
	must(t, err)
	places := map[netip.Addr]*netns.NS{b.pods[0].addr: b.pods[0].ns, b.pods[1].addr: b.pods[1].ns, outside: b.far}
	ears := map[netip.AddrPort]int{}
	for a, ns := range places {
		for port := range uint16(livePorts) {
			fd := socketIn(t, ns, unix.SOCK_DGRAM, 0)
			must(t, unix.Bind(fd, &unix.SockaddrInet6{Port: int(port) + 1, Addr: a.As16()}))
			must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30}))
			ears[netip.AddrPortFrom(a, port+1)] = fd
		}
	}
	accepted := map[bool]int{}
	for n := range sets {
		r := policytest.Dice{Rand: rand.New(rand.NewPCG(uint64(n), 68))}
		world := r.World()
		believed := policy.Believed{Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{benchPrefix: policy.Wide}, Exact: map[netip.Addr]identity.Number{}}
		subjects := map[netip.Addr]policy.Subject{}
		for _, p := range b.pods {
			s := r.Subject(world)
			subjects[p.addr], believed.Exact[p.addr] = *s, s.Number
		}
		if r.IntN(2) == 0 {
			believed.Exact[outside] = identity.Number(0x100 + r.IntN(21))
		}
		c, err := policy.NewCompiler(world).CompileAll(subjects, believed)
		must(t, err)
		_, err = writer.Reconcile(c)
		must(t, err)
		who := c.Believed.Directory()
		for range 40 {
			l := liveFlow{from: pickAddr(r, b, netip.Addr{}), port: 1 + uint16(r.IntN(livePorts))}
			l.to = pickAddr(r, b, l.from)
			want := c.Ask(who, l.from, l.to, transport.UDP, l.port).Accepted()
			accepted[want]++
			if err := l.send(t, b, places[l.from], ears[netip.AddrPortFrom(l.to, l.port)], want); err != nil {
				t.Fatalf("set %d: %s to %s port %d: %v; %+v", n, l.from, l.to, l.port, err, c.Ask(who, l.from, l.to, transport.UDP, l.port))
			}
		}
	}
	if accepted[true] == 0 || accepted[false] == 0 {
		t.Errorf("the worlds are too simple: %v", accepted)
	}
	t.Logf("%d sets of policies: %d flows accepted, %d denied", sets, accepted[true], accepted[false])
}

// pickAddr is an endpoint or the outside, but for one; two of the outside there are not.
func pickAddr(r policytest.Dice, b *bench, but netip.Addr) netip.Addr {
	for {
		if a := []netip.Addr{b.pods[0].addr, b.pods[1].addr, outside}[r.IntN(3)]; a != but {
			return a
		}
	}
}

// liveFlow is one datagram, of a flow of its own.
type liveFlow struct {
	from, to netip.Addr
	port     uint16
}

func (l liveFlow) send(t *testing.T, b *bench, ns *netns.NS, ear int, want bool) error {
	t.Helper()
	fd, err := openIn(ns, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrInet6{Addr: l.from.As16()}))
	place := datapath.FromEndpoint
	if l.from == outside {
		place = datapath.FromUplink
	}
	before := b.count(t, place, datapath.Denied)
	text := fmt.Sprintf("%s %d", l.from, b.sent)
	b.sent++
	must(t, unix.Sendto(fd, []byte(text), 0, &unix.SockaddrInet6{Port: int(l.port), Addr: l.to.As16()}))
	in := make([]byte, 256)
	if want {
		n, _, err := netnstest.Receive(ear, in)
		if err != nil || string(in[:n]) != text {
			return errors.Join(fmt.Errorf("it is accepted, and %q came", in[:max(n, 0)]), err)
		}
		return nil
	}
	eventually(t, "the datagram is denied", func() bool { return b.count(t, place, datapath.Denied) > before })
	if n, _, err := unix.Recvfrom(ear, in, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		return errors.Join(fmt.Errorf("it is denied, and %q came", in[:max(n, 0)]), err)
	}
	return nil
}
