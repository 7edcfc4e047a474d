package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/desired"
)

var (
	gatewayAsker = netip.MustParseAddr("2001:db8:a000:c12:1a7:38b:8d98:3")
	askerMAC     = desired.MAC{2, 0, 0, 0, 1, 2}
	askedMAC     = desired.MAC{2, 0, 0, 0, 1, 1}
	askedGroup   = netip.MustParseAddr("ff02::1:ff00:1")
)

// gatewayState is a host with one endpoint behind link 7.
func gatewayState() *State {
	return &State{
		Endpoints: map[netip.Addr]Endpoint{gatewayAsker: {Link: 7, MAC: askerMAC, HostMAC: askedMAC}},
		Flows:     NewFlows(1, 1),
		Route:     func(uint32, Header) Route { return Route{} },
		Settings:  Settings{Fast: true},
	}
}

// fromAsker is what the endpoint sends: an ICMPv6 message with its checksum.
func fromAsker(dst netip.Addr, hops byte, message []byte) Packet {
	p := Packet{Place: FromEndpoint, Link: 7, Came: 7, Frame: make([]byte, 14)}
	copy(p.Frame, askedMAC[:])
	if dst.IsMulticast() {
		copy(p.Frame, []byte{0x33, 0x33, 0xff, 0, 0, 1})
	}
	copy(p.Frame[6:], askerMAC[:])
	binary.BigEndian.PutUint16(p.Frame[12:], etherTypeIPv6)
	head := make([]byte, ipv6Len)
	head[0], head[6], head[7] = 0x60, protoICMP, hops
	binary.BigEndian.PutUint16(head[4:], uint16(len(message)))
	put(head[8:], gatewayAsker)
	put(head[24:], dst)
	message = slices.Clone(message)
	binary.BigEndian.PutUint16(message[2:], messageSum(gatewayAsker, dst, message))
	p.Frame = slices.Concat(p.Frame, head, message)
	return p
}

func ask(target netip.Addr, options ...byte) []byte {
	return slices.Concat([]byte{neighbourAsk, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice(), options)
}

// The answer comes from the gateway to who asked, with the flags and the option of a router that was asked.
func TestRFC4861_7_2_4_AnswerOfTheGateway(t *testing.T) {
	source := []byte{1, 1, 2, 0, 0, 0, 1, 2}
	for name, p := range map[string]Packet{
		"multicast":          fromAsker(askedGroup, 255, ask(desired.Gateway(), source...)),
		"unicast":            fromAsker(desired.Gateway(), 255, ask(desired.Gateway(), source...)),
		"without options":    fromAsker(askedGroup, 255, ask(desired.Gateway())),
		"a nonce (RFC 3971)": fromAsker(askedGroup, 255, ask(desired.Gateway(), slices.Concat(source, []byte{14, 1, 1, 2, 3, 4, 5, 6})...)),
	} {
		o := gatewayState().Judge(p)
		if o.Why != Answered || o.Fate != Back || o.Out != 7 || o.Mark != MarkSet {
			t.Fatalf("%s: %s, fate %d, link %d, mark %#x", name, o.Why, o.Fate, o.Out, o.Mark)
		}
		h, why := parse(o.Frame)
		if why != 0 || h.Src != desired.Gateway() || h.Dst != gatewayAsker || h.Hops != 255 {
			t.Errorf("%s: %s from %s to %s, hop limit %d", name, why, h.Src, h.Dst, h.Hops)
		}
		if !bytes.Equal(o.Frame[:12], slices.Concat(askerMAC[:], askedMAC[:])) {
			t.Errorf("%s: MACs % x", name, o.Frame[:12])
		}
		message := o.Frame[h.Upper:h.End]
		if messageSum(h.Src, h.Dst, message) != 0 {
			t.Errorf("%s: wrong checksum", name)
		}
		// RFC 4861 4.4: router, solicited, override; RFC 4861 4.6.1: the target's link-layer address
		want := slices.Concat([]byte{neighbourAnswer, 0, message[2], message[3], 0xe0, 0, 0, 0}, desired.Gateway().AsSlice(), []byte{2, 1}, askedMAC[:])
		if d := cmp.Diff(want, message); d != "" {
			t.Errorf("%s (-want +have):\n%s", name, d)
		}
	}
}

// What is no solicitation of the gateway by the rules is not answered.
func TestRFC4861_7_1_1_NoAnswerOfTheGateway(t *testing.T) {
	spoil := func(p Packet, at int) Packet {
		p.Frame[at] ^= 1
		return p
	}
	good := func() Packet { return fromAsker(askedGroup, 255, ask(desired.Gateway())) }
	for _, c := range []struct {
		name string
		p    Packet
		why  Why
	}{
		{"a wrong checksum", spoil(good(), etherLen+ipv6Len+2), Neighbour},
		{"from beyond the link", fromAsker(askedGroup, 254, ask(desired.Gateway())), SpoofedNeighbour},
		{"another code", spoil(good(), etherLen+ipv6Len+1), SpoofedNeighbour},
		{"another address", fromAsker(askedGroup, 255, ask(netip.MustParseAddr("fe80::2"))), Neighbour},
		{"an empty option", fromAsker(askedGroup, 255, ask(desired.Gateway(), 1, 0, 0, 0, 0, 0, 0, 0)), SpoofedNeighbour},
		{"cut off", fromAsker(askedGroup, 255, ask(desired.Gateway())[:20]), Truncated},
		{"long options", fromAsker(askedGroup, 255, ask(desired.Gateway(), append([]byte{14, 5}, make([]byte, 38)...)...)), Neighbour},
	} {
		if o := gatewayState().Judge(c.p); o.Why != c.why {
			t.Errorf("%s: %s, want %s", c.name, o.Why, c.why)
		}
	}
}

// An echo of the gateway carries what was sent, back to who sent it.
func TestRFC4443_4_2_EchoOfTheGateway(t *testing.T) {
	request := []byte{echoRequest, 0, 0, 0, 0x12, 0x34, 0, 1, 'a', 'b', 'c', 'd'}
	o := gatewayState().Judge(fromAsker(desired.Gateway(), 1, request))
	h, _ := parse(o.Frame)
	message := o.Frame[h.Upper:h.End]
	if o.Why != Answered || h.Src != desired.Gateway() || h.Dst != gatewayAsker || h.Hops != 64 || messageSum(h.Src, h.Dst, message) != 0 {
		t.Errorf("%s from %s to %s, hop limit %d: % x", o.Why, h.Src, h.Dst, h.Hops, message)
	}
	if message[0] != echoReply || !bytes.Equal(message[4:], request[4:]) {
		t.Errorf("asked % x, answered % x", request, message)
	}
	if o := gatewayState().Judge(fromAsker(desired.Gateway(), 64, append([]byte{echoReply}, request[1:]...))); o.Why != ToHost {
		t.Errorf("an echo reply to the gateway: %s", o.Why)
	}
}
