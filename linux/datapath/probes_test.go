package datapath

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// Probes are UDP: what must not come through to one port, what may to another.
const (
	forbiddenPort  = 7007
	forbiddenMagic = "hexapod-forbidden"
	allowedPort    = 7008
	allowedMagic   = "hexapod-allowed"
)

// only leaves a wire the UDP of one port, so that no other traffic fills its queue.
func (w *wire) only(t testing.TB, port uint16) *wire {
	t.Helper()
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x86dd, SkipTrue: 5},
		bpf.LoadAbsolute{Off: 20, Size: 1}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 17, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 56, Size: 2}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16}, bpf.RetConstant{Val: 0},
	})
	must(t, err)
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	must(t, unix.SetsockoptSockFprog(w.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
	return w
}

// probe is one thing that is tried every millisecond.
type probe struct {
	name  string
	from  *wire
	frame []byte
	sent  atomic.Int64
}

// probes try what is forbidden. Who counts what comes through is no part of the datapath.
type probes struct {
	mu      sync.Mutex
	tried   []*probe
	seen    []*wire        // of forbidden ones, at endpoints and at the far host
	counted []func() int64 // and elsewhere
	allowed *wire

	through int64 // at the last check
	done    chan struct{}
	running sync.WaitGroup
}

// startProbes begins to try. docker0 is a bridge of others on the host.
func startProbes(t *testing.T, b *bench) *probes {
	t.Helper()
	p := &probes{done: make(chan struct{})}
	t.Cleanup(func() { p.stop(t) })
	for _, pair := range deniedPairs {
		must(t, b.table.Maps().PutDenied(pair))
	}
	netnstest.Run(t, b.far, "ip -6 addr add "+denied.String()+"/128 dev lo")
	dock := netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: b.ns, Name: "docker0", Addrs: []netip.Prefix{netip.MustParsePrefix("3fff:d::1/64")}, Quiet: true},
		netnstest.End{NS: dock, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("3fff:d::2/64")}, Quiet: true})
	b.awaitCarrier(t, dock, "3fff:d::1")
	at := func(ns *netns.NS, link, magic string, port uint16) *wire {
		return newWire(t, ns, link, magic).only(t, port)
	}
	for i, pod := range b.pods {
		p.seen = append(p.seen, at(pod.ns, "eth0", forbiddenMagic, forbiddenPort))
		if i == 1 {
			p.allowed = at(pod.ns, "eth0", allowedMagic, allowedPort)
		}
	}
	p.seen = append(p.seen, at(b.far, "up0", forbiddenMagic, forbiddenPort))
	self, victim := b.pods[0], b.pods[1]
	leave := func(src, dst netip.Addr) []byte {
		return ether(desired.HostMAC(podKey(0)), desired.EndpointMAC(podKey(0)), probePacket(src, dst))
	}
	enter := func(link string, src, dst netip.Addr) []byte { return b.enter(t, link, src, dst) }
	p.try("source of a neighbour", p.seen[0], leave(victim.addr, outside))
	p.try("source of another host", p.seen[0], leave(inside, victim.addr))
	p.try("denied by policy, to outside", p.seen[0], leave(self.addr, denied))
	p.try("inside source from outside", p.seen[2], enter("up0", inside, victim.addr))
	p.try("denied by policy, from outside", p.seen[2], enter("up0", denied, victim.addr))
	p.try("inside source by docker0", at(dock, "up0", forbiddenMagic, forbiddenPort), enter("docker0", inside, victim.addr))
	p.try("", newWire(t, self.ns, "eth0", allowedMagic).only(t, allowedPort), ether(desired.HostMAC(podKey(0)), desired.EndpointMAC(podKey(0)),
		ipv6(self.addr, victim.addr, 17, 64, udp(7, allowedPort, allowedMagic))))
	return p
}

func probePacket(src, dst netip.Addr) []byte {
	return ipv6(src, dst, 17, 64, udp(7, forbiddenPort, forbiddenMagic))
}

// enter is a probe that comes to the host by a link.
func (b *bench) enter(t *testing.T, link string, src, dst netip.Addr) []byte {
	t.Helper()
	conn, err := rtnl.Dial(b.ns)
	must(t, err)
	defer conn.Close()
	l, _, err := conn.Link(link)
	must(t, err)
	return ether(l.MAC, desired.MAC{2, 0, 0, 0, 0, 9}, probePacket(src, dst))
}

// try sends a frame every millisecond from now on.
func (p *probes) try(name string, from *wire, frame []byte) {
	one := &probe{name: name, from: from, frame: frame}
	p.mu.Lock()
	p.tried = append(p.tried, one)
	p.mu.Unlock()
	p.running.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-p.done:
				return
			}
			if unix.Sendto(from.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: from.index}) == nil {
				one.sent.Add(1)
			}
		}
	})
}

// patient is how long a test waits for something that must come, on a machine that has others to serve.
const patient = time.Minute

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patient); !ok(); <-look.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patient)
		}
	}
}

// check lets every probe be sent some more times, and fails when one came through since the last check.
func (p *probes) check(t *testing.T, when string) {
	t.Helper()
	for _, one := range p.tried {
		before := one.sent.Load()
		eventually(t, "probes are sent ("+one.name+")", func() bool { return one.sent.Load() >= before+20 })
	}
	if n := p.passed(); n > p.through {
		t.Errorf("%s: %d forbidden packets came through", when, n-p.through)
		p.through = n
	}
}

// passed is how many forbidden packets came through in all.
func (p *probes) passed() (n int64) {
	for _, w := range p.seen {
		n += w.seen.Load()
	}
	for _, count := range p.counted {
		n += count()
	}
	return n
}

func (p *probes) stop(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
		return
	default:
	}
	close(p.done)
	p.running.Wait()
	if n := settle(t, 0, p.passed); n > p.through {
		t.Errorf("%d forbidden packets came through", n-p.through)
	}
	if p.allowed.seen.Load() == 0 {
		t.Error("no packet that is allowed came through: the probes prove nothing")
	}
	for _, w := range append([]*wire{p.allowed}, p.seen...) {
		st, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		must(t, err)
		if st.Drops > 0 {
			t.Errorf("%d packets were not counted", st.Drops)
		}
	}
}

func (p *probes) String() string {
	sent := int64(0)
	for _, one := range p.tried {
		sent += one.sent.Load()
	}
	return fmt.Sprintf("%d probes of %d kinds, %d forbidden ones came through", sent, len(p.tried), p.passed())
}

// newUplink lets somebody outside send by a link that the host gets just now.
func (p *probes) newUplink(t *testing.T, b *bench, name string) {
	t.Helper()
	wild := netnstest.New(t)
	netnstest.Connect(t, netnstest.End{NS: b.ns, Name: name, Quiet: true}, netnstest.End{NS: wild, Name: "up0", Quiet: true})
	from := newWire(t, wild, "up0", forbiddenMagic).only(t, forbiddenPort)
	p.try("inside source by "+name, from, b.enter(t, name, inside, b.pods[1].addr))
	p.try("denied by policy, by "+name, from, b.enter(t, name, denied, b.pods[1].addr))
	b.uplinks = append(b.uplinks, name)
}

var packetsCounted = regexp.MustCompile(`packets (\d+)`)

// newEndpoint makes an endpoint to which forbidden packets come before it is there.
func (p *probes) newEndpoint(t *testing.T, b *bench) {
	t.Helper()
	i := len(b.pods)
	ns := netnstest.New(t)
	for _, line := range []string{"add table ip6 t", "add chain ip6 t c { type filter hook prerouting priority -400 ; }",
		fmt.Sprintf("add rule ip6 t c udp dport %d counter", forbiddenPort)} {
		netnstest.Run(t, ns, "nft "+line)
	}
	p.counted = append(p.counted, func() int64 {
		n, err := strconv.ParseInt(packetsCounted.FindStringSubmatch(netnstest.Run(t, ns, "nft list table ip6 t"))[1], 10, 64)
		must(t, err)
		return n
	})
	p.try("inside source to a new endpoint", p.seen[2], b.enter(t, "up0", inside, podOf(i).addr))
	b.addIn(t, i, ns)
}
