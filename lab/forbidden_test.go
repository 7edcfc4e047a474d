package lab_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab"
	"hexapod.dev/lab/topology"
)

// Probes are UDP: what must not come through to one port, what may to another.
const (
	forbiddenPort = 7007
	allowedPort   = 7008
)

// tried is one thing that somebody tries every millisecond.
type tried struct {
	name string
	sent atomic.Int64
}

// forbidden is what is tried and must not come through. Rules of nftables in the namespaces of those it is for count what does.
type forbidden struct {
	fabric
	all     []*tried
	victims []string
	through int
	cancel  context.CancelFunc
	ended   []<-chan error
}

// tryForbidden begins to try, until stop.
func (f fabric) tryForbidden() *forbidden {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	p := &forbidden{fabric: f, victims: []string{besideTalker, answerer, closedOne}, cancel: cancel}
	f.Cleanup(cancel)
	rules := fmt.Sprintf("table ip6 probes {\n chain c {\n type filter hook prerouting priority -400;\n udp dport %d counter\n udp dport %d counter\n }\n}\n", forbiddenPort, allowedPort)
	for _, v := range p.victims {
		if err := f.Exec(v, []string{"nft", "-f", "-"}, lab.Streams{In: strings.NewReader(rules)}); err != nil {
			f.Fatalf("count at %s: %v", v, err)
		}
	}
	for _, t := range []struct {
		name, from, src, dst string
		port                 uint16
	}{
		{"source of a neighbour", talker, besideTalker, answerer, forbiddenPort},
		{"source of another host", talker, answerer, besideTalker, forbiddenPort},
		{"closed by policy, from another host", talker, talker, closedOne, forbiddenPort},
		{"closed by policy, from the same host", answerer, answerer, closedOne, forbiddenPort},
		{"closed by policy, from outside", topology.Outside, topology.Outside, closedOne, forbiddenPort},
		{"allowed", talker, talker, answerer, allowedPort},
	} {
		packet, dst := probePacket(f.Addr(t.src), f.Addr(t.dst), t.port), &unix.SockaddrInet6{Addr: f.Addr(t.dst).As16()}
		p.try(ctx, t.name, t.from, unix.AF_INET6, unix.IPPROTO_RAW, packet, func(int) (unix.Sockaddr, error) { return dst, nil })
	}
	// A bridge of others on the host of the answerer, and somebody behind it.
	f.exec("r1h2", "ip", "link", "add", "docker0", "type", "veth", "peer", "name", "wild0")
	f.exec("r1h2", "ip", "link", "set", "docker0", "up")
	f.exec("r1h2", "ip", "link", "set", "wild0", "up")
	frame := append(make([]byte, 12), 0x86, 0xdd)
	frame = append(frame, probePacket(f.Addr(talker), f.Addr(answerer), forbiddenPort)...)
	p.try(ctx, "inside source by docker0", "r1h2", unix.AF_PACKET, unix.ETH_P_IPV6, frame, func(int) (unix.Sockaddr, error) {
		to, err := net.InterfaceByName("docker0")
		if err != nil {
			return nil, err
		}
		wild, err := net.InterfaceByName("wild0")
		if err != nil {
			return nil, err
		}
		copy(frame, to.HardwareAddr)
		copy(frame[6:], wild.HardwareAddr)
		return &unix.SockaddrLinklayer{Ifindex: wild.Index}, nil
	})
	p.check("with agents at rest")
	return p
}

// try sends a packet every millisecond from now on.
func (p *forbidden) try(ctx context.Context, name, from string, family, protocol int, packet []byte, where func(fd int) (unix.Sockaddr, error)) {
	p.Helper()
	one := &tried{name: name}
	p.all = append(p.all, one)
	p.ended = append(p.ended, p.inside(ctx, from, func(ctx context.Context) error {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to, err := where(fd)
		if err != nil {
			return err
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			if unix.Sendto(fd, packet, 0, to) == nil {
				one.sent.Add(1)
			}
		}
	}))
}

// probePacket is a UDP packet without content.
func probePacket(src, dst netip.Addr, port uint16) []byte {
	b := make([]byte, 40, 48)
	b[0], b[5], b[6], b[7] = 0x60, 8, unix.IPPROTO_UDP, 64
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	b = binary.BigEndian.AppendUint16(b, 7)
	b = binary.BigEndian.AppendUint16(b, port)
	return append(b, 0, 8, 0, 0)
}

var packetsCounted = regexp.MustCompile(`packets (\d+)`)

// count asks the rules at a victim.
func (p *forbidden) count(victim string) (denied, allowed int) {
	p.Helper()
	var said strings.Builder
	if err := p.Exec(victim, []string{"nft", "list", "table", "ip6", "probes"}, lab.Streams{Out: &said, Err: &said}); err != nil {
		p.Fatalf("count at %s: %v: %s", victim, err, said.String())
	}
	var n [2]int
	found := packetsCounted.FindAllStringSubmatch(said.String(), -1)
	if len(found) != len(n) {
		p.Fatalf("count at %s: %s", victim, said.String())
	}
	for i, m := range found {
		var err error
		if n[i], err = strconv.Atoi(m[1]); err != nil {
			p.Fatal(err)
		}
	}
	return n[0], n[1]
}

func (p *forbidden) passed() (n int) {
	p.Helper()
	for _, v := range p.victims {
		denied, _ := p.count(v)
		n += denied
	}
	return n
}

// check lets everything be tried some more times, and fails when something came through since the last check.
func (p *forbidden) check(when string) {
	p.Helper()
	for _, one := range p.all {
		before := one.sent.Load()
		p.eventually("tried again: "+one.name, func() bool { return one.sent.Load() >= before+20 })
	}
	if n := p.passed(); n > p.through {
		p.Errorf("%s: %d forbidden packets came through", when, n-p.through)
		p.through = n
	}
}

func (p *forbidden) stop() {
	p.Helper()
	p.cancel()
	for i, ended := range p.ended {
		if err := <-ended; err != nil {
			p.Errorf("try %s: %v", p.all[i].name, err)
		}
	}
	if n := p.passed(); n > p.through {
		p.Errorf("%d forbidden packets came through", n-p.through)
	}
	if _, allowed := p.count(answerer); allowed == 0 {
		p.Error("no packet that is allowed came through: the probes prove nothing")
	}
}

func (p *forbidden) String() string {
	sent := int64(0)
	for _, one := range p.all {
		sent += one.sent.Load()
	}
	return fmt.Sprintf("%d probes of %d kinds, %d forbidden ones came through", sent, len(p.all), p.passed())
}
