package nat64

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"hexapod.dev/model/xlat"
)

var (
	endpoint = netip.MustParseAddr("2001:db8:a::5")
	other    = netip.MustParseAddr("2001:db8:a::6")
	server   = netip.MustParseAddr("8.8.8.8")
	third    = netip.MustParseAddr("9.9.9.9")
	pool     = []netip.Addr{netip.MustParseAddr("203.0.115.1"), netip.MustParseAddr("203.0.115.2")}
)

// bed is a table with a clock of its own and what it logged.
type bed struct {
	*Table
	blocks *Blocks
	grants []Grant
	probes []string
}

func newBed(quota, limit int) *bed {
	b := &bed{}
	b.blocks = NewBlocks(Pool{Addrs: pool, Gateways: []string{"g1"}}, "g1", quota, func(g Grant) { b.grants = append(b.grants, g) })
	b.Table = New(Config{Prefixes: []xlat.Pref64{xlat.WellKnown}, Self4: pool[0], Secret: Secret{1}, Times: DefaultTimes, Limit: limit, Blocks: b.blocks})
	b.Probe = func(e, s netip.AddrPort) { b.probes = append(b.probes, fmt.Sprint(e, " ", s)) }
	return b
}

func six(a netip.Addr) netip.Addr { return xlat.WellKnown.Embed(a) }

// flags are TCP headers that carry nothing but flags.
func flags(f byte) []byte { b := make([]byte, 20); b[13] = f; return b }

var syn, fin, rst, ack = flags(2), flags(0x11), flags(4), flags(0x10)

func (b *bed) out(protocol uint8, src netip.Addr, port uint16, dst netip.Addr, dport uint16, l4 []byte) (xlat.Ends, xlat.Why) {
	return b.To4(xlat.Query{Protocol: protocol, Ends: xlat.Ends{Src: src, Dst: six(dst), SrcPort: port, DstPort: dport}, Payload: l4})
}

func (b *bed) in(protocol uint8, src netip.Addr, sport uint16, dst netip.Addr, port uint16, l4 []byte) (xlat.Ends, xlat.Why) {
	return b.To6(xlat.Query{Protocol: protocol, Ends: xlat.Ends{Src: src, Dst: dst, SrcPort: sport, DstPort: port}, Payload: l4})
}

// S1, S2: one end of an endpoint is one end of the pool towards everybody, and everybody may answer it.
func TestRFC4787_REQ1_EndpointIndependentMapping(t *testing.T) {
	b := newBed(1, 100)
	for _, protocol := range []uint8{udp, tcp} {
		first, why := b.out(protocol, endpoint, 5000, server, 53, syn)
		if why != xlat.Translated {
			t.Fatal(why)
		}
		for i, to := range []netip.Addr{third, server} {
			e, why := b.out(protocol, endpoint, 5000, to, uint16(80+i), syn)
			if why != xlat.Translated || e.Src != first.Src || e.SrcPort != first.SrcPort {
				t.Errorf("protocol %d to %s: %+v, %s; the first was %+v", protocol, to, e, why, first)
			}
		}
		back, why := b.in(protocol, netip.MustParseAddr("1.1.1.1"), 999, first.Src, first.SrcPort, syn)
		if want := (xlat.Ends{Src: six(netip.MustParseAddr("1.1.1.1")), Dst: endpoint, SrcPort: 999, DstPort: 5000}); why != xlat.Translated || back != want {
			t.Errorf("protocol %d from a stranger: %+v, %s; want %+v", protocol, back, why, want)
		}
	}
	if n, _ := b.Len(); n != 2 {
		t.Errorf("%d bindings, want 2", n)
	}
}

// S4: an endpoint keeps its address when it gets another block. S3: parity is kept where there is room.
func TestRFC4787_REQ2_PairedPooling(t *testing.T) {
	b := newBed(3, 10_000)
	addrs := map[netip.Addr]bool{}
	parity := 0
	for port := range uint16(2500) {
		e, why := b.out(udp, endpoint, 2000+port, server, 53, nil)
		if why != xlat.Translated {
			t.Fatalf("binding %d: %s", port, why)
		}
		addrs[e.Src] = true
		if port < 200 && e.SrcPort%2 == port%2 {
			parity++
		}
		if e.SrcPort < 1024 {
			t.Fatalf("port %d is given out", e.SrcPort)
		}
	}
	if len(addrs) != 1 || len(b.blocks.Of(endpoint)) != 3 {
		t.Errorf("addresses %v, blocks %v; want one address and three blocks", addrs, b.blocks.Of(endpoint))
	}
	if parity != 200 {
		t.Errorf("parity kept for %d of the first 200", parity)
	}
}

// S12: at its quota an endpoint is refused, and another one is served.
func TestRFC6888_REQ4_Quota(t *testing.T) {
	b := newBed(1, 10_000)
	for port := range BlockSize {
		if _, why := b.out(udp, endpoint, uint16(2000+port), server, 53, nil); why != xlat.Translated {
			t.Fatalf("binding %d: %s", port, why)
		}
	}
	if _, why := b.out(udp, endpoint, 60000, server, 53, nil); why != xlat.Refused {
		t.Errorf("one more than the quota: %s", why)
	}
	if _, why := b.out(udp, endpoint, 2000, third, 53, nil); why != xlat.Translated {
		t.Errorf("an old binding: %s", why)
	}
	if _, why := b.out(udp, other, 60000, server, 53, nil); why != xlat.Translated {
		t.Errorf("another endpoint: %s", why)
	}
	full := newBed(1, 2)
	for port, want := range map[uint16]xlat.Why{1: xlat.Translated, 2: xlat.Translated} {
		if _, why := full.out(udp, endpoint, port, server, 53, nil); why != want {
			t.Errorf("port %d: %s", port, why)
		}
	}
	if _, why := full.out(udp, endpoint, 3, server, 53, nil); why != xlat.Refused {
		t.Errorf("table full: %s", why)
	}
}

// S5: lives end to the second, and packets in both directions renew them.
func TestRFC6146_4_Timers(t *testing.T) {
	for _, c := range []struct {
		protocol uint8
		life     Seconds
	}{{udp, 300}, {icmp, 60}} {
		b := newBed(1, 10)
		e, _ := b.out(c.protocol, endpoint, 7, server, 7, nil)
		b.Advance(c.life - 1)
		if _, why := b.in(c.protocol, server, 7, e.Src, e.SrcPort, nil); why != xlat.Translated {
			t.Errorf("protocol %d after %d s: %s", c.protocol, c.life-1, why)
		}
		b.Advance(2*c.life - 2)
		if _, why := b.in(c.protocol, server, 7, e.Src, e.SrcPort, nil); why != xlat.Translated {
			t.Errorf("protocol %d, renewed: %s", c.protocol, why)
		}
		b.Advance(3*c.life - 2)
		if _, why := b.in(c.protocol, server, 7, e.Src, e.SrcPort, nil); why != xlat.NoMapping {
			t.Errorf("protocol %d after its life: %s", c.protocol, why)
		}
		b.Expire()
		if n, _ := b.Len(); n != 0 {
			t.Errorf("protocol %d: %d bindings left", c.protocol, n)
		}
	}
}

// literal is RFC 6146 3.5.2.2 read aloud: what each paragraph says, without a table.
func literal(s State, e Event) (State, timer) {
	six, four := e == SYN6 || e == FIN6 || e == RST6 || e == Other6, e == SYN4 || e == FIN4 || e == RST4 || e == Other4
	switch s {
	case Closed:
		switch e {
		case SYN6:
			return V6Init, trans
		case SYN4:
			return V4Init, trans
		}
		return Closed, keep
	case V4Init:
		switch e {
		case SYN6:
			return Established, est
		case Timeout:
			return Closed, gone
		}
		return V4Init, keep
	case V6Init:
		switch e {
		case SYN4:
			return Established, est
		case SYN6:
			return V6Init, trans
		case Timeout:
			return Closed, gone
		}
		return V6Init, keep
	case Established:
		switch e {
		case FIN4:
			return V4Fin, keep
		case FIN6:
			return V6Fin, keep
		case RST4, RST6:
			return Trans, trans
		case Timeout:
			return Trans, probe
		}
		return Established, est
	case V4Fin, V6Fin:
		if s == V4Fin && e == FIN6 || s == V6Fin && e == FIN4 {
			return V4V6Fin, trans
		}
		if six || four {
			return s, est
		}
		return Closed, gone
	case V4V6Fin:
		if e == Timeout {
			return Closed, gone
		}
		return V4V6Fin, keep
	}
	switch {
	case e == RST4 || e == RST6:
		return Trans, keep
	case e == Timeout:
		return Closed, gone
	}
	return Established, est
}

// S7: all 72 rows.
func TestRFC6146_3_5_2_2_StateMachine(t *testing.T) {
	for s := range State(states) {
		for e := range Event(events) {
			to, timer := literal(s, e)
			if got := next[s][e]; got != (transition{to, timer}) {
				t.Errorf("%s, %s: %s %d, want %s %d", s, e, got.to, got.timer, to, timer)
			}
		}
	}
}

// model is one session as RFC 6146 tells it, for one endpoint and one server.
type model struct {
	state   State
	expires Seconds
}

func (m *model) at(now Seconds) (probed bool) {
	for m.state != Closed && m.expires <= now {
		to, by := literal(m.state, Timeout)
		m.state = to
		if by == probe {
			m.expires, probed = now+DefaultTimes.TCPTrans, true
			break
		}
	}
	return probed
}

func (m *model) packet(e Event, now Seconds) xlat.Why {
	m.at(now)
	if m.state == Closed && e != SYN6 {
		return xlat.NoMapping // no binding: nothing from outside begins, and nothing but a SYN from inside
	}
	to, by := literal(m.state, e)
	m.state = to
	switch by {
	case trans:
		m.expires = now + DefaultTimes.TCPTrans
	case est:
		m.expires = now + DefaultTimes.TCPEst
	}
	return xlat.Translated
}

// TestSessionsAgainstModel walks 200,000 random steps.
func TestSessionsAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 146))
	segments := map[Event][]byte{SYN6: syn, SYN4: syn, FIN6: fin, FIN4: fin, RST6: rst, RST4: rst, Other6: ack, Other4: ack}
	b, m := newBed(1, 100), &model{}
	var at xlat.Ends
	now := Seconds(0)
	seen := map[State]int{}
	for step := range 200_000 {
		now += []Seconds{0, 1, 10, 239, 240, 241, 7440}[min(rnd.IntN(30), 6)*rnd.IntN(2)]
		b.Advance(now)
		if rnd.IntN(50) == 0 {
			m.at(now)
			b.Expire()
		}
		e := Event(rnd.IntN(8))
		var why xlat.Why
		if e%2 == 0 {
			var ends xlat.Ends
			if ends, why = b.out(tcp, endpoint, 4000, server, 443, segments[e]); why == xlat.Translated {
				at = ends
			}
		} else {
			if !at.Src.IsValid() {
				continue
			}
			_, why = b.in(tcp, server, 443, at.Src, at.SrcPort, segments[e])
		}
		if want := m.packet(e, now); why != want {
			t.Fatalf("step %d, %s in %s: %s, the model says %s", step, e, m.state, why, want)
		}
		seen[m.state]++
		_, n := b.Len()
		if (n == 1) != (m.state != Closed) {
			t.Fatalf("step %d: %d sessions, the model is %s", step, n, m.state)
		}
		for _, s := range b.sessions {
			if state, expires := b.look(s); state != m.state || expires != m.expires {
				t.Fatalf("step %d, %s: %s until %d, the model is %s until %d", step, e, state, expires, m.state, m.expires)
			}
		}
	}
	for s := range State(states) {
		if seen[s] == 0 && s != V4Init {
			t.Errorf("%s was never reached", s)
		}
	}
}

// S5, S7: a silent session is asked about, and ends when nobody answers.
func TestRFC6146_3_5_2_2_Probe(t *testing.T) {
	b := newBed(1, 10)
	e, _ := b.out(tcp, endpoint, 4000, server, 443, syn)
	if _, why := b.in(tcp, server, 443, e.Src, e.SrcPort, syn); why != xlat.Translated {
		t.Fatal(why)
	}
	b.Advance(7440)
	b.Expire()
	if want := "[2001:db8:a::5]:4000 [64:ff9b::808:808]:443"; len(b.probes) != 1 || b.probes[0] != want {
		t.Errorf("probes %v, want %s", b.probes, want)
	}
	b.Advance(7440 + 240)
	b.Expire()
	if n, s := b.Len(); n+s != 0 {
		t.Errorf("%d bindings and %d sessions are left", n, s)
	}
}

// S11, A5: who may have no binding, and where none leads.
func TestRFC6146_3_5_Forbidden(t *testing.T) {
	b := newBed(1, 10)
	for _, src := range []string{"64:ff9b::808:808", "::1", "::", "fe80::1", "ff02::1"} {
		if _, why := b.out(udp, netip.MustParseAddr(src), 1, server, 1, nil); why != xlat.Forbidden {
			t.Errorf("from %s: %s", src, why)
		}
	}
	for _, dst := range []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1"} {
		if _, why := b.out(udp, endpoint, 1, netip.MustParseAddr(dst), 1, nil); why != xlat.Forbidden {
			t.Errorf("to %s: %s", dst, why)
		}
	}
	if n, _ := b.Len(); n != 0 {
		t.Errorf("%d bindings were made", n)
	}
}

// S9: fragments follow their first; one that comes before has to wait, and what is known of them ends.
func TestRFC6146_3_4_Fragments(t *testing.T) {
	b := newBed(1, 10)
	q := xlat.Query{Protocol: udp, Ends: xlat.Ends{Src: endpoint, Dst: six(server)}, Offset: 1480, ID: 7}
	if _, why := b.To4(q); why != xlat.Waiting {
		t.Errorf("before the first: %s", why)
	}
	first := q
	first.Offset, first.More, first.Ends.SrcPort, first.Ends.DstPort = 0, true, 5000, 53
	e, why := b.To4(first)
	if why != xlat.Translated {
		t.Fatal(why)
	}
	got, why := b.To4(q)
	if want := (xlat.Ends{Src: e.Src, Dst: server}); why != xlat.Translated || got != want {
		t.Errorf("behind the first: %+v, %s; want %+v", got, why, want)
	}
	b.Advance(2)
	if _, why := b.To4(q); why != xlat.Waiting {
		t.Errorf("after two seconds: %s", why)
	}
}

// S13: the places of ports are spread evenly and need the secret.
func TestRFC6056_PortsAreSpread(t *testing.T) {
	var cells [64]int
	const n = 64 * 1000
	for port := range n {
		cells[Secret{1}.place(endpoint, uint16(port), udp)%64]++
	}
	chi := 0.0
	for _, c := range cells {
		chi += float64(c-1000) * float64(c-1000) / 1000
	}
	if chi > 126 { // 63 degrees of freedom: 1 in 250,000
		t.Errorf("chi-square %f", chi)
	}
	if (Secret{1}).place(endpoint, 1, udp) == (Secret{2}).place(endpoint, 1, udp) {
		t.Error("the secret changes nothing")
	}
}

// The test vector of the paper, appendix A: key 00..0f, message 00..0e is 15 bytes; ours are multiples of 8, so the one of 8 bytes.
func TestSipHash24Vector(t *testing.T) {
	var s Secret
	for i := range s {
		s[i] = byte(i)
	}
	if got, want := s.hash([]byte{0, 1, 2, 3, 4, 5, 6, 7}), uint64(0x93f5f5799a932462); got != want {
		t.Errorf("%016x, want %016x", got, want)
	}
	if got, want := s.hash(nil), uint64(0x726fdb47dd0e0e31); got != want {
		t.Errorf("empty: %016x, want %016x", got, want)
	}
}

// S17: what becomes of a flow does not depend on what others do at the same time.
func TestRFC4787_REQ11_SameWhateverTheLoad(t *testing.T) {
	idle, busy := newBed(4, 10_000), newBed(4, 10_000)
	dice := rand.New(rand.NewPCG(4787, 11))
	for i := range 3000 {
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7, 15: byte(1 + i%20)})
		if _, why := busy.out(udp, a, uint16(1024+i), third, 53, nil); why != xlat.Translated {
			t.Fatal(why)
		}
	}
	for _, b := range []*bed{idle, busy} {
		for i := range 200 {
			port := uint16(2000 + i)
			first, why := b.out(udp, endpoint, port, server, 53, nil)
			again, _ := b.out(udp, endpoint, port, third, uint16(1+dice.IntN(60000)), nil)
			back, came := b.in(udp, netip.MustParseAddr("1.1.1.1"), 999, first.Src, first.SrcPort, nil)
			if why != xlat.Translated || came != xlat.Translated || again.Src != first.Src || again.SrcPort != first.SrcPort || back.Dst != endpoint || back.DstPort != port {
				t.Fatalf("port %d: %v %v, %v, back %v %v", port, first, why, again, back, came)
			}
		}
	}
}
