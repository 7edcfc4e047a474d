package datapath

import (
	"net/netip"
	"slices"

	"hexapod.dev/model/desired"
)

// Judge tells what becomes of p, and brings the state on. The frame is not changed: the outcome has its own.
func (s *State) Judge(p Packet) Outcome {
	p.Frame = slices.Clone(p.Frame)
	if p.Place == ToEndpoint {
		return s.toEndpoint(p)
	}
	p.Mark &^= MarkMask // nobody outside says that a packet was judged
	if p.Place == FromUplink {
		return s.fromUplink(p)
	}
	return s.fromEndpoint(p)
}

func (p Packet) end(why Why) Outcome {
	o := Outcome{Fate: Pass, Why: why, Frame: p.Frame, Mark: p.Mark}
	if why.Drop() {
		o.Fate = Drop
	}
	return o
}

// kernel hands a judged packet to the kernel, with the mark by which it is known further on.
func (p Packet) kernel(why Why) Outcome {
	o := p.end(why)
	if p.door == show {
		o.Mark |= MarkService
	} else {
		o.Mark |= MarkSet
	}
	return o
}

func (p Packet) srcMAC() desired.MAC { return desired.MAC(p.Frame[6:12]) }
func (p Packet) dstMAC() desired.MAC { return desired.MAC(p.Frame[0:6]) }

// fromEndpoint judges what an endpoint sends.
func (s *State) fromEndpoint(p Packet) Outcome {
	if !isIPv6(p.Frame) {
		return s.legacyFrom(p)
	}
	h, why := parse(p.Frame)
	if why != 0 {
		return p.end(why)
	}
	if h.Src == netip.IPv6Unspecified() {
		return p.detection(h, s)
	}
	self, ok := s.sender(h.Src, p.Link)
	switch {
	case !ok || martian(h.Src):
		return p.end(SpoofedSource)
	case p.srcMAC() != self.MAC:
		return p.end(SpoofedMAC)
	case h.Routing:
		return p.end(RoutingHeader)
	case h.Proto == protoICMP && isDiscovery(h.Type) && (!h.Fragment || h.First):
		return p.discovery(h, s, self)
	case martian(h.Dst):
		return p.end(Malformed)
	case h.Dst.IsMulticast():
		return p.end(Multicast)
	case p.dstMAC() != self.HostMAC:
		return p.end(ForeignMAC)
	case s.isLocator(h.Dst):
		return p.end(Locator)
	}
	s.leadAlong(p, &h)
	why, ask := s.pass(&p, h, self.Link, 0)
	if ask {
		why = s.serve(&p, &h, self.Link)
	}
	switch {
	case why == Refused:
		return p.back(Refused)
	case why != 0:
		return p.end(why)
	}
	if to, here := s.Endpoints[h.Dst]; here {
		return s.handOver(p, h, to)
	}
	if p.echo(h) {
		return p.back(Answered)
	}
	return s.forward(p, h)
}

// sender is the link of the endpoint that has a source, as far as it may be sent from there.
func (s *State) sender(src netip.Addr, link uint32) (Endpoint, bool) {
	self, ok := s.Endpoints[src]
	if ok && self.Link != link {
		self, ok = s.Kin[Kin{src, link}]
	}
	return self, ok
}

// martian tells of destinations that never leave a host.
func martian(a netip.Addr) bool { return a.IsUnspecified() || a.IsLoopback() || a.Is4In6() }

// isLocator tells whether a lies in the locator of a host: 0x0002 stands where the identity would (model/addressplan).
func (s *State) isLocator(a netip.Addr) bool {
	b := a.As16()
	if b[8] != 0 || b[9] != 2 {
		return false
	}
	in, ok := s.inside(a)
	return ok && in.Flags&Located != 0
}

// fromUplink judges what arrives for endpoints. All else is the host's business, unless it claims to come from inside.
func (s *State) fromUplink(p Packet) Outcome {
	if !isIPv6(p.Frame) || len(p.Frame) < etherLen+ipv6Len {
		return p.end(NotOurs)
	}
	b := p.Frame[etherLen:]
	dst := netip.AddrFrom16([16]byte(b[24:40]))
	self, ok := s.Endpoints[dst]
	if !ok {
		return p.toHost(s, netip.AddrFrom16([16]byte(b[8:24])), b[6])
	}
	h, why := parse(p.Frame)
	switch {
	case why != 0:
		return p.end(why)
	case h.Routing:
		return p.end(RoutingHeader)
	case h.Proto == protoICMP && isDiscovery(h.Type) && (!h.Fragment || h.First):
		return p.end(NotOurs) // a neighbour of the host asks for the endpoint: the host answers (linux/ndp), and it goes no further
	case h.Src.IsMulticast() || martian(h.Src) || h.Src.IsLinkLocalUnicast():
		return p.end(Malformed)
	}
	if why, _ := s.pass(&p, h, self.Link, p.Link); why != 0 {
		return p.end(why)
	}
	return s.handOver(p, h, self)
}

// toHost is what the host gets over an uplink, or hands on itself. Neighbours of the host may ask it by any address of theirs.
func (p Packet) toHost(s *State, src netip.Addr, next byte) Outcome {
	in, ok := s.inside(src)
	switch {
	case !ok:
	case next != protoICMP && (s.Links[p.Link]&Outside != 0 || in.Flags&Self != 0):
		return p.end(ForgedInside)
	case s.believed(p, src) == 0:
		p.Mark |= MarkBelieved
	}
	return p.end(NotOurs)
}

// believed tells whether a source may arrive by the uplink of p.
func (s *State) believed(p Packet, src netip.Addr) Why {
	if _, here := s.Endpoints[src]; here { // also one of a pool, whose other addresses are elsewhere
		return ForgedInside
	}
	in, ok := s.inside(src)
	flags := s.Links[p.Link]
	switch {
	case !ok:
		return 0
	case p.Place == ToEndpoint && (in.Flags&Self != 0 || p.Mark&MarkMask == MarkBelieved): // the host masquerades what it hands on
		return 0
	case p.Place == ToEndpoint: // inside sources come from endpoints and by uplinks, and were judged there
		return ForgedInside
	case in.Flags&Own != 0 || flags&Outside != 0:
		return ForgedInside
	case flags&Flat == 0:
		return 0
	case in.Flags&KnownBy != 0:
		if in.Link != p.Link || in.MAC != p.srcMAC() {
			return WrongHostMAC
		}
		return 0
	case flags&Gateway == 0:
		return ForgedInside
	}
	return 0
}

// toEndpoint judges what the kernel delivers to an endpoint.
func (s *State) toEndpoint(p Packet) Outcome {
	switch {
	case !isIPv6(p.Frame) && (p.Came == 0 || p.Mark&MarkMask != MarkSet && p.Mark&MarkMask != MarkService):
		return s.legacyTo(p)
	case p.Came == 0:
		s.fromHost(p)
		return p.end(FromHost)
	}
	switch p.Mark & MarkMask {
	case MarkService:
		if h, why := parse(p.Frame); isIPv6(p.Frame) && why == 0 {
			s.show(p, h)
		}
		return p.end(Judged)
	case MarkSet:
		return p.end(Judged)
	}
	h, why := parse(p.Frame)
	if why != 0 {
		return p.end(why)
	}
	self, ok := s.Endpoints[h.Dst]
	switch {
	case !ok || self.Link != p.Link:
		return p.end(NotItsAddress)
	case h.Routing:
		return p.end(RoutingHeader)
	case h.Proto == protoICMP && isDiscovery(h.Type) && (!h.Fragment || h.First):
		return p.end(SpoofedNeighbour)
	case h.Src.IsMulticast() || martian(h.Src) || h.Src.IsLinkLocalUnicast():
		return p.end(Malformed)
	}
	if why, _ := s.pass(&p, h, self.Link, p.Came); why != 0 {
		return p.end(why)
	}
	if p.door == show {
		s.show(p, h)
	}
	return p.end(OtherWay)
}

// fromHost notes the flow of what the host itself sends, so that answers to it are no new flows. Nothing forbids the host anything.
func (s *State) fromHost(p Packet) {
	h, why := parse(p.Frame)
	self, ok := s.Endpoints[h.Dst]
	switch {
	case why != 0 || !ok || self.Link != p.Link:
		return
	case h.along():
		p.door = show
	default:
		s.note(&p, h, self.Link)
	}
	if p.door == show {
		s.show(p, h)
	}
}

// note notes the flow of a packet that the host sends, if it says by itself which one that is.
func (s *State) note(p *Packet, h Header, owner uint32) {
	if h.Proto == protoICMP && h.Type != echoRequest && h.Type != echoReply {
		return
	}
	g := sight{flags: h.Flags}
	g.key, g.fromA = keyOf(h)
	passes := s.Flows.pass(g, s.Settings.Generation, p.Now)
	if !passes.ok {
		passes = s.Flows.add(g, owner, s.Settings.Generation, p.Now)
	}
	p.toDoor(passes)
}

// pass judges the flow of a packet: 0, or the reason to drop. uplink is 0 for what an endpoint of this host sends. ask is set for what
// may be for a service: that is to be asked first.
func (s *State) pass(p *Packet, h Header, owner, uplink uint32) (why Why, ask bool) {
	if s.Settings.Services && h.along() && p.door == 0 {
		p.door = show
	}
	if h.Fragment && !h.First {
		return s.laterFragment(*p, h, uplink), false
	}
	if h.Proto == protoICMP && h.Type < echoRequest {
		return s.icmpError(*p, h, uplink), false
	}
	if h.Proto == protoICMP && h.Type != echoRequest && h.Type != echoReply {
		return ICMPType, false
	}
	if why, ask := s.known(p, h, owner, uplink); why != 0 || ask {
		return why, ask
	}
	if h.Fragment {
		return s.firstFragment(*p, h), false
	}
	return 0, false
}

// known passes packets of known flows, and judges those that begin one.
func (s *State) known(p *Packet, h Header, owner, uplink uint32) (why Why, ask bool) {
	g := sight{flags: h.Flags, link: uplink, led: p.door == led}
	g.key, g.fromA = keyOf(h)
	if uplink != 0 {
		g.mac = p.srcMAC()
	}
	asks := uplink == 0 && p.door == 0 && s.Settings.Services
	passes := s.Flows.pass(g, s.Settings.Generation, p.Now)
	if asks && !passes.ok && g.begins() && !s.Services.Owns(h.Dst) { // nobody leads a connection that begins elsewhere
		p.door, asks = asked, false
	}
	switch {
	case asks && passes.halfOpen && s.Services.Owns(h.Dst): // it began when the service was not known yet
		s.Flows.remove(g.key, p.Now)
		return 0, true
	case asks && !passes.ok:
		return 0, true
	case !passes.ok:
		if uplink != 0 {
			if why := s.believed(*p, h.Src); why != 0 {
				return why, false
			}
		}
		if s.denied(g, h, p.Now) {
			s.Flows.remove(g.key, p.Now)
			return Denied, false
		}
		if passes = s.Flows.add(g, owner, s.Settings.Generation, p.Now); !passes.ok {
			return FlowTableFull, false
		}
	}
	p.toDoor(passes)
	return 0, false
}

// firstFragment notes how far it reaches.
func (s *State) firstFragment(p Packet, h Header) Why {
	k := FragmentKey{h.Src, h.Dst, h.ID}
	f, known := s.Fragments[k]
	known = known && p.Now-f.Seen <= fragmentLife
	f = Fragment{End: h.End - h.Data, Seen: p.Now, Spoiled: known}
	s.Fragments[k] = f
	if f.Spoiled {
		return FragmentOverlap
	}
	return 0
}

// laterFragment passes when the first one did and they do not overlap.
func (s *State) laterFragment(p Packet, h Header, uplink uint32) Why {
	if uplink != 0 {
		if why := s.believed(p, h.Src); why != 0 {
			return why
		}
	}
	k := FragmentKey{h.Src, h.Dst, h.ID}
	f, ok := s.Fragments[k]
	switch {
	case !ok || p.Now-f.Seen > fragmentLife:
		return FragmentUnknown
	case f.Spoiled:
		return FragmentOverlap
	case h.Offset < f.End:
		f.Spoiled = true
		s.Fragments[k] = f
		return FragmentOverlap
	}
	return 0
}

// handOver hands a judged packet to an endpoint of this host, as the service's if it is an answer of one.
func (s *State) handOver(p Packet, h Header, to Endpoint) Outcome {
	o := s.deliver(p, h, to)
	if o.Why == Local && p.door == show {
		s.show(p, h)
	}
	return o
}

// deliver hands a judged packet to an endpoint of this host.
func (s *State) deliver(p Packet, h Header, to Endpoint) Outcome {
	switch {
	case !s.Settings.Fast:
		return p.kernel(KernelPath)
	case h.Hops <= 1:
		return p.kernel(HopLimit)
	case p.Segment == 0 && len(p.Frame) > s.MTU(to.Link)+etherLen:
		return p.kernel(TooBig)
	}
	o := p.end(Local)
	o.Fate, o.Out = ToPeer, to.Link
	copy(o.Frame[0:6], to.MAC[:])
	copy(o.Frame[6:12], to.HostMAC[:])
	o.Frame[etherLen+7]--
	return o
}

// forward hands a judged packet to the next hop that the kernel's routes name, if that is over an uplink.
func (s *State) forward(p Packet, h Header) Outcome {
	switch {
	case !s.Settings.Fast:
		return p.kernel(KernelPath)
	case h.Hops <= 1:
		return p.kernel(HopLimit)
	}
	length := len(p.Frame) - etherLen
	if p.Segment != 0 {
		length = h.Upper - etherLen + h.UpperLen + p.Segment
		if b := p.Frame[etherLen:]; b[4] == 0 && b[5] == 0 && b[6] == hopByHop {
			length -= 8 // that of a jumbo payload, which segments have no more (RFC 2675)
		}
	}
	r := s.Route(p.Link, h)
	switch {
	case r.Known && length > r.MTU:
		return p.kernel(TooBig)
	case !r.Known || s.Links[r.Link]&Uplink == 0:
		return p.kernel(ToHost)
	}
	o := p.end(Remote)
	o.Fate, o.Out = ToNext, r.Link
	copy(o.Frame[0:6], r.MAC[:])
	copy(o.Frame[6:12], r.LinkMAC[:])
	o.Frame[etherLen+7]--
	return o
}
