package datapath

import (
	"encoding/binary"
	"net/netip"

	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// Services packet by packet, for endpoints whose sockets the hooks of bpf/connect.c cannot see. All of it happens at the door of the
// client: what it sends to a service is led to a backend before anything else is asked, and what comes for it is shown as the service's
// when nothing else is left to ask. Between, a packet has the backend's address: policy, flows and the kernel know no other.

// door says what a service has to do with a packet.
type door uint8

const (
	led   door = iota + 1 // it was sent to a service, and has a backend's address now
	show                  // it may be an answer: it is shown as the service's where it is handed to the client
	asked                 // it is for no service: that was asked
)

// toDoor notes that a packet may have to be shown as a service's.
func (p *Packet) toDoor(passes passed) {
	if p.door != led && passes.byService {
		p.door = show
	}
}

// Services is what the programs know of services, and the flows that they have led.
type Services struct {
	service.Translator
	Seed      uint64
	Rows      []ServiceRow // as many as a power of two
	Fragments map[FragmentKey]netip.Addr
}

// ServiceRow holds flows between a client and the address of a service, and the backend of each. A row is found by the client's
// address and port alone, so one entry serves both directions.
type ServiceRow struct {
	Flow [FlowWays]Flow
	Seat [FlowWays]service.Seat
}

// clientHash finds the row of a client, and the place in a table for its connection to a service.
func clientHash(client netip.AddrPort, proto uint8, more uint64) uint32 {
	a := client.Addr().As16()
	h := service.Mix(binary.LittleEndian.Uint64(a[:8]) ^ more)
	h = service.Mix(h ^ binary.LittleEndian.Uint64(a[8:]))
	return uint32(service.Mix(h ^ uint64(proto)<<16 ^ uint64(client.Port())))
}

func (s *Services) row(client netip.AddrPort, proto uint8) *ServiceRow {
	return &s.Rows[clientHash(client, proto, s.Seed)&uint32(len(s.Rows)-1)]
}

// find returns the place of a living flow that is like.
func (r *ServiceRow) find(now uint32, like func(i int) bool) (int, bool) {
	for i := range r.Flow {
		if !r.Flow[i].Gone(now) && like(i) {
			return i, true
		}
	}
	return 0, false
}

// has tells whether a flow is the client's by this port, whatever the service.
func (f *Flow) has(client netip.AddrPort, proto uint8) bool {
	k := f.Key
	return k.Proto == proto && (client == netip.AddrPortFrom(k.A, k.APort) || client == netip.AddrPortFrom(k.B, k.BPort))
}

// note notes a flow and its backend. Another flow of the client's port to the same backend ends: answers to it could not be told from
// those to this one.
func (s *Services) note(g sight, client netip.AddrPort, seat service.Seat, owner, now uint32) bool {
	if g.key.Proto == protoTCP && g.flags&tcpRST != 0 {
		return true // it ends what is not known
	}
	r := s.row(client, g.key.Proto)
	for i := range r.Flow {
		if f := &r.Flow[i]; f.has(client, g.key.Proto) && (f.Key == g.key || r.Seat[i].Backend == seat.Backend) {
			f.State = Free
		}
	}
	f := room(&r.Flow, owner, now)
	if f == nil {
		return false
	}
	*f = Flow{Key: g.key, Owner: owner}
	f.begin(g)
	f.touch(g, now)
	for i := range r.Flow {
		if f == &r.Flow[i] {
			r.Seat[i] = seat
		}
	}
	return true
}

func (h *Header) from() netip.AddrPort { return netip.AddrPortFrom(h.Src, h.SrcPort) }
func (h *Header) to() netip.AddrPort   { return netip.AddrPortFrom(h.Dst, h.DstPort) }

// message tells of errors of ICMPv6, which are about another packet.
func (h *Header) message() bool {
	return h.Proto == protoICMP && h.Type > 0 && h.Type <= paramProblem && !h.Fragment
}

// along tells of packets that belong to a flow and do not say by themselves to which.
func (h *Header) along() bool { return h.Fragment && !h.First || h.message() }

func isLed(proto uint8) bool {
	switch transport.Protocol(proto) {
	case transport.TCP, transport.UDP, transport.SCTP:
		return true
	}
	return false
}

// serve leads a packet that belongs to no flow to a backend, if it is for a service, and judges it then.
func (s *State) serve(p *Packet, h *Header, owner uint32) Why {
	g := sight{flags: h.Flags, led: true}
	g.key, g.fromA = keyOf(*h)
	client := h.from()
	action, seat, anew := s.choose(g, *h, p.Now)
	switch action {
	case service.Refuse:
		return p.refuse(*h)
	case service.Pass:
		p.door = asked
		why, _ := s.pass(p, *h, owner, 0)
		return why
	}
	if h.Proto == protoSCTP && seat.Backend.Port() != h.DstPort {
		return NoBackend // its checksum covers the whole packet
	}
	p.door = led
	if h.Fragment {
		s.Services.Fragments[FragmentKey{h.Src, h.Dst, h.ID}] = seat.Backend.Addr()
	}
	p.replaceEnd(h, seat.Backend, false)
	if why, _ := s.pass(p, *h, owner, 0); why != 0 || !anew {
		return why
	}
	if !s.Services.note(g, client, seat, owner, p.Now) {
		return FlowTableFull
	}
	return 0
}

// choose finds the backend of a packet to a service. anew is set when its flow is to be noted, once it is let pass.
func (s *State) choose(g sight, h Header, now uint32) (action service.Action, seat service.Seat, anew bool) {
	if !isLed(h.Proto) {
		return service.Pass, seat, false
	}
	r := s.Services.row(h.from(), h.Proto)
	key := service.Key{Addr: h.Dst, Port: h.DstPort, Protocol: transport.Protocol(h.Proto)}
	i, known := r.find(now, func(i int) bool {
		return r.Flow[i].Key == g.key && !(r.Flow[i].State == Closing && g.begins())
	})
	if known {
		r.Flow[i].touch(g, now)
		// Connections go on to a backend that the service has no more. Datagrams, and what was never answered, need one that lives.
		goesOn := h.Proto != protoUDP && r.Flow[i].State != HalfOpen && !g.begins()
		if goesOn || s.Services.Holds(key, r.Seat[i]) {
			return service.Translate, r.Seat[i], false
		}
	} else if !s.Services.Owns(h.Dst) {
		return service.Pass, seat, false
	}
	dst := h.Dst.As16()
	action, seat = s.Services.Choose(service.Call{
		Key: key, Client: h.Src.As16(), Now: now,
		Random: clientHash(h.from(), h.Proto, uint64(h.DstPort)<<32^binary.LittleEndian.Uint64(dst[:8])^binary.LittleEndian.Uint64(dst[8:])),
	})
	return action, seat, true
}

// leadAlong leads what belongs to a flow that was led: later fragments, and errors about answers.
func (s *State) leadAlong(p Packet, h *Header) {
	switch {
	case !s.Settings.Services || !h.along():
	case !h.message():
		if to, ok := s.Services.Fragments[FragmentKey{h.Src, h.Dst, h.ID}]; ok {
			h.Dst = to
			put(p.Frame[dstAt:], to)
		}
	default:
		in, ok := innerOf(p.Frame, *h)
		if !ok || !isLed(in.Proto) {
			return
		}
		key, _ := keyOf(in)
		r := s.Services.row(in.to(), in.Proto)
		if i, ok := r.find(p.Now, func(i int) bool { return r.Flow[i].Key == key }); ok {
			p.replaceInner(h, in, r.Seat[i].Backend, true)
		}
	}
}

// show makes what is handed to a client come from the service it talks to.
func (s *State) show(p Packet, h Header) {
	switch {
	case !s.Settings.Services:
	case h.message():
		in, ok := innerOf(p.Frame, h)
		if !ok || !isLed(in.Proto) {
			return
		}
		if vip, ok := s.Services.answered(in.from(), in.to(), in.Proto, p.Now, nil); ok {
			p.replaceInner(&h, in, vip, false)
		}
	case h.along():
		if from, ok := s.Services.Fragments[FragmentKey{h.Src, h.Dst, h.ID}]; ok {
			put(p.Frame[srcAt:], from)
		}
	case isLed(h.Proto):
		g := sight{flags: h.Flags}
		vip, ok := s.Services.answered(h.to(), h.from(), h.Proto, p.Now, &g)
		if !ok {
			return
		}
		if h.Fragment {
			s.Services.Fragments[FragmentKey{h.Src, h.Dst, h.ID}] = vip.Addr()
		}
		p.replaceEnd(&h, vip, true)
	}
}

// answered returns what a client talks to when the backend answers. g is the answer, nil for a message about the flow.
func (s *Services) answered(client, backend netip.AddrPort, proto uint8, now uint32, g *sight) (netip.AddrPort, bool) {
	r := s.row(client, proto)
	i, ok := r.find(now, func(i int) bool { return r.Seat[i].Backend == backend && r.Flow[i].has(client, proto) })
	if !ok {
		return netip.AddrPort{}, false
	}
	f := &r.Flow[i]
	vip, fromA := netip.AddrPortFrom(f.Key.A, f.Key.APort), true
	if vip == client {
		vip, fromA = netip.AddrPortFrom(f.Key.B, f.Key.BPort), false
	}
	if g != nil {
		g.key, g.fromA = f.Key, fromA
		f.touch(*g, now)
	}
	return vip, true
}
