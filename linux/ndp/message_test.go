package ndp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	twin "github.com/mdlayher/ndp"
)

var (
	alice    = netip.MustParseAddr("2001:db8::a11c:e")
	local    = netip.MustParseAddr("fe80::a")
	target   = netip.MustParseAddr("2001:db8::12:3456")
	aliceMAC = MAC{2, 0, 0, 0, 0, 0xa}
	bobMAC   = MAC{2, 0, 0, 0, 0, 0xb}
	sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	samePfx  = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	noFrame  = cmpopts.IgnoreFields(Packet{}, "SrcMAC", "DstMAC")
)

// raw is a packet in pieces, to be broken one at a time.
type raw struct {
	src, dst netip.Addr
	hop      byte
	next     byte
	body     []byte // from type on; the checksum is set unless keepSum
	keepSum  bool
}

func (r raw) bytes() []byte {
	b := make([]byte, headerLen)
	b[0], b[6], b[7] = 0x60, r.next, r.hop
	binary.BigEndian.PutUint16(b[4:], uint16(len(r.body)))
	copy(b[8:], r.src.AsSlice())
	copy(b[24:], r.dst.AsSlice())
	b = append(b, r.body...)
	if !r.keepSum && len(r.body) >= 4 {
		b[headerLen+2], b[headerLen+3] = 0, 0
		binary.BigEndian.PutUint16(b[headerLen+2:], checksum(r.src, r.dst, b[headerLen:]))
	}
	return b
}

// good is a packet of each type that must be taken.
func good(typ byte) raw {
	r := raw{src: alice, dst: Group(target), hop: 255, next: 58}
	switch typ {
	case typeSolicitation:
		r.body = append([]byte{typ, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	case typeAdvertisement:
		r.dst = allNodes
		r.body = append([]byte{typ, 0, 0, 0, 0x20, 0, 0, 0}, target.AsSlice()...)
	case typeRouterSolicitation:
		r.dst = allRouters
		r.body = []byte{typ, 0, 0, 0, 0, 0, 0, 0}
	case typeRouterAdvertisement:
		r.src, r.dst = local, allNodes
		r.body = append([]byte{typ, 0, 0, 0}, make([]byte, 12)...)
	}
	return r
}

func TestRFC4861_6_1_And_7_1_Validation(t *testing.T) {
	sll := []byte{optionSourceMAC, 1, 2, 0, 0, 0, 0, 0xa}
	type change func(*raw)
	all := []byte{typeSolicitation, typeAdvertisement, typeRouterSolicitation, typeRouterAdvertisement}
	for _, tc := range []struct {
		name   string
		types  []byte
		change change
		want   error
	}{
		{"6.1 7.1 as it should be", all, func(*raw) {}, nil},
		{"6.1 7.1 hop limit 254", all, func(r *raw) { r.hop = 254 }, errHopLimit},
		{"6.1 7.1 hop limit 64", all, func(r *raw) { r.hop = 64 }, errHopLimit},
		{"6.1 7.1 checksum", all, func(r *raw) { r.keepSum = true; r.body[2]++ }, errChecksum},
		{"6.1 7.1 code", all, func(r *raw) { r.body[1] = 1 }, errCode},
		{"6.1.1 at least 8 octets", []byte{typeRouterSolicitation}, func(r *raw) { r.body = r.body[:7] }, errHeader},
		{"6.1.2 at least 16 octets", []byte{typeRouterAdvertisement}, func(r *raw) { r.body = r.body[:15] }, errShort},
		{"7.1 at least 24 octets", all[:2], func(r *raw) { r.body = r.body[:23] }, errShort},
		{"6.1 7.1 an option of length zero", all, func(r *raw) { r.body = append(r.body, 200, 0, 0, 0, 0, 0, 0, 0) }, errOption},
		{"6.1 7.1 an option over the end", all, func(r *raw) { r.body = append(r.body, 200, 2, 0, 0, 0, 0, 0, 0) }, errOption},
		{"6.1 7.1 half an option", all, func(r *raw) { r.body = append(r.body, 200) }, errOption},
		{"6.1 7.1 an unknown option", all, func(r *raw) { r.body = append(r.body, 200, 1, 1, 2, 3, 4, 5, 6) }, nil},
		{"6.1.1 7.1.1 unspecified source with its MAC", []byte{typeRouterSolicitation, typeSolicitation},
			func(r *raw) { r.src = anywhere; r.body = append(r.body, sll...) }, errDADSource},
		{"6.1.1 7.1.1 unspecified source", []byte{typeRouterSolicitation, typeSolicitation}, func(r *raw) { r.src = anywhere }, nil},
		{"6.1.2 a source that is not link-local", []byte{typeRouterAdvertisement}, func(r *raw) { r.src = alice }, errRASource},
		{"6.1.2 a source that looks link-local through IPv4", []byte{typeRouterAdvertisement},
			func(r *raw) { r.src = netip.MustParseAddr("::ffff:169.254.0.1") }, errRASource},
		{"7.1.1 the unspecified address asks one host", []byte{typeSolicitation}, func(r *raw) { r.src, r.dst = anywhere, target }, errDADGroup},
		{"7.1.1 the unspecified address asks all nodes", []byte{typeSolicitation}, func(r *raw) { r.src, r.dst = anywhere, allNodes }, errDADGroup},
		{"7.1 a group as target", all[:2], func(r *raw) { copy(r.body[8:], allNodes.AsSlice()) }, errTarget},
		{"7.1 no target", all[:2], func(r *raw) { copy(r.body[8:], anywhere.AsSlice()) }, errTarget},
		{"7.1.2 solicited, to a group", []byte{typeAdvertisement}, func(r *raw) { r.body[4] |= naSolicit }, errSolicited},
		{"7.1.2 solicited, to one host", []byte{typeAdvertisement}, func(r *raw) { r.dst = alice; r.body[4] |= naSolicit }, nil},
		{"RFC 4291 2.7 a group as source", all, func(r *raw) { r.src = allNodes }, errSource},
		{"RFC 6980 5 a fragment", all, func(r *raw) { r.next = 44 }, errHeader},
		{"another type", all, func(r *raw) { r.body[0] = 137 }, errType},
	} {
		for _, typ := range tc.types {
			r := good(typ)
			tc.change(&r)
			if _, err := Parse(r.bytes(), false); !errors.Is(err, tc.want) {
				t.Errorf("%s, type %d: %v, want %v", tc.name, typ, err, tc.want)
			}
		}
	}
}

func TestCutAnywhere(t *testing.T) {
	for _, typ := range []byte{typeSolicitation, typeAdvertisement, typeRouterSolicitation, typeRouterAdvertisement} {
		b := good(typ).bytes()
		for n := range b {
			if _, err := Parse(b[:n], true); err == nil {
				t.Errorf("type %d cut to %d bytes is taken", typ, n)
			}
		}
	}
}

func TestWrittenIsReadBack(t *testing.T) {
	for _, p := range []Packet{
		{Src: anywhere, Dst: Group(target), Message: &Solicitation{Target: target, Nonce: []byte{1, 2, 3, 4, 5, 6}}},
		{Src: alice, Dst: target, Message: &Solicitation{Target: target, MAC: aliceMAC}},
		{Src: target, Dst: alice, Message: &Advertisement{Target: target, Solicited: true, Override: true, MAC: bobMAC}},
		{Src: target, Dst: allNodes, Message: &Advertisement{Target: target, Router: true, MAC: bobMAC}},
		{Src: local, Dst: allRouters, Message: &RouterSolicitation{MAC: aliceMAC}},
		{Src: local, Dst: allNodes, Message: &RouterAdvertisement{MAC: aliceMAC}},
	} {
		got, err := Parse(p.Bytes(), false)
		if err != nil {
			t.Errorf("%+v: %v", p.Message, err)
			continue
		}
		if d := cmp.Diff(p, got, sameAddr, samePfx, noFrame); d != "" {
			t.Errorf("-written +read:\n%s", d)
		}
		if _, err := twin.ParseMessage(p.Bytes()[headerLen:]); err != nil {
			t.Errorf("%+v: another implementation refuses it: %v", p.Message, err)
		}
	}
}

// An advertisement with everything in it, written by another implementation.
func TestRouterAdvertisementOfOthers(t *testing.T) {
	prefix, pref64 := netip.MustParseAddr("2001:db8:1::"), netip.MustParsePrefix("64:ff9b::/96")
	body, err := twin.MarshalMessageChecksum(&twin.RouterAdvertisement{
		RouterLifetime: 30 * time.Minute,
		Options: []twin.Option{
			&twin.LinkLayerAddress{Direction: twin.Source, Addr: aliceMAC[:]},
			twin.NewMTU(1400),
			&twin.PrefixInformation{PrefixLength: 64, OnLink: true, Prefix: prefix, ValidLifetime: time.Hour, PreferredLifetime: time.Minute},
			&twin.PREF64{Lifetime: 10 * time.Minute, Prefix: pref64},
			&twin.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{alice}},
			&twin.RawOption{Type: 201, Length: 2, Value: make([]byte, 14)},
		},
	}, local, allNodes)
	if err != nil {
		t.Fatal(err)
	}
	r := raw{src: local, dst: allNodes, hop: 255, next: 58, body: body, keepSum: true}
	got, err := Parse(r.bytes(), false)
	if err != nil {
		t.Fatal(err)
	}
	want := &RouterAdvertisement{
		Lifetime: 30 * time.Minute, MAC: aliceMAC, MTU: 1400,
		Prefixes: []PrefixInformation{{Prefix: netip.PrefixFrom(prefix, 64), OnLink: true, Valid: time.Hour, Preferred: time.Minute}},
		Pref64:   []Pref64{{Prefix: pref64, Lifetime: 10 * time.Minute}},
	}
	if d := cmp.Diff(want, got.Message, sameAddr, samePfx); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestRFC9762_4_PFlag(t *testing.T) {
	option := append([]byte{optionPrefix, 4, 64, 0x90, 0, 0, 1, 0, 0, 0, 0, 60, 0, 0, 0, 0}, netip.MustParseAddr("2001:db8:1::").AsSlice()...)
	r := good(typeRouterAdvertisement)
	r.body = append(r.body, option...)
	p, err := Parse(r.bytes(), false)
	if err != nil {
		t.Fatal(err)
	}
	ra := p.Message.(*RouterAdvertisement)
	if len(ra.Prefixes) != 1 || !ra.Prefixes[0].Delegate || !ra.Prefixes[0].OnLink || ra.Prefixes[0].Autonomous {
		t.Errorf("prefixes %+v: want one that is on the link and asks for delegation", ra.Prefixes)
	}
	if !(Router{Prefixes: ra.Prefixes}).Delegates() {
		t.Error("the router is not said to delegate")
	}
	ra.Prefixes[0].Preferred = 0 // RFC 9762 6: a prefix that is not preferred asks for nothing
	if (Router{Prefixes: ra.Prefixes}).Delegates() {
		t.Error("a deprecated prefix asks for delegation")
	}
}

// A known option of a size that this kind of link does not have is passed over with its message kept (RFC 8106 5.3.1 for DNS).
func TestRFC4861_4_6_OddOptionsAreIgnored(t *testing.T) {
	for _, odd := range [][]byte{
		{25, 1, 0, 0, 0, 0, 0, 0},                // DNS server without a server
		{optionMTU, 2, 15: 0},                    // MTU of 16 bytes
		{optionPrefix, 1, 64, 0, 0, 0, 0, 0},     // prefix without a prefix
		{optionPrefix, 4, 129, 31: 0},            // prefix of 129 bits
		{optionSourceMAC, 2, 15: 0},              // an address longer than an Ethernet one
		{optionPref64, 1, 0, 0, 0, 0, 0, 0},      // a Pref64 too short
		{optionNonce, 1, 1, 2, 3, 4, 5, 6},       // not for this message
		{optionTargetMAC, 1, 2, 0, 0, 0, 0, 0xb}, // not for this message
	} {
		r := good(typeRouterAdvertisement)
		r.body = append(r.body, odd...)
		p, err := Parse(r.bytes(), false)
		if err != nil {
			t.Errorf("option % x: %v", odd, err)
			continue
		}
		if d := cmp.Diff(&RouterAdvertisement{}, p.Message, sameAddr, samePfx); d != "" {
			t.Errorf("option % x was taken:\n%s", odd, d)
		}
	}
}

func TestRFC4291_2_7_1_SolicitedNodeGroup(t *testing.T) {
	if got := Group(target); got != netip.MustParseAddr("ff02::1:ff12:3456") {
		t.Errorf("group of %s: %s", target, got)
	}
	if got := groupMAC(Group(target)); got != (MAC{0x33, 0x33, 0xff, 0x12, 0x34, 0x56}) {
		t.Errorf("MAC of the group: %s", got)
	}
}
