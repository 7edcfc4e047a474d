package ndp

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	twin "github.com/mdlayher/ndp"
)

// FuzzNDP throws any bytes at the reader and at both machines. What is taken must obey RFC 4861 and mean the same to another
// implementation; no machine may answer what it should not.
func FuzzNDP(f *testing.F) {
	for _, typ := range []byte{typeSolicitation, typeAdvertisement, typeRouterSolicitation, typeRouterAdvertisement} {
		r := good(typ)
		f.Add(r.bytes())
		for _, option := range [][]byte{
			{optionSourceMAC, 1, 2, 0, 0, 0, 0, 0xa}, {optionTargetMAC, 1, 2, 0, 0, 0, 0, 0xb}, {optionNonce, 1, 1, 2, 3, 4, 5, 6},
			{optionMTU, 1, 0, 0, 0, 0, 5, 0xdc}, append([]byte{optionPrefix, 4, 64, 0xd0}, make([]byte, 28)...),
			{optionPref64, 2, 0, 80, 0, 0x64, 0xff, 0x9b, 15: 0},
		} {
			r.body = append(r.body, option...)
			f.Add(r.bytes())
		}
		r.hop = 64
		f.Add(r.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > headerLen+4 { // so that bytes reach what lies behind
			r := raw{hop: b[7], next: b[6], body: b[headerLen:]}
			copy(b, r.bytes()[:6])
		}
		p, err := Parse(b, true)
		if err != nil {
			return
		}
		p.SrcMAC = aliceMAC
		if b[7] != 255 || b[headerLen+1] != 0 {
			t.Errorf("taken with hop limit %d and code %d", b[7], b[headerLen+1])
		}
		if again, err := Parse(p.Bytes(), false); err != nil || again.Src != p.Src || again.Dst != p.Dst {
			t.Errorf("what is written of %+v is not read back: %v", p.Message, err)
		}
		compare(t, b, p)
		machines(t, p)
	})
}

// compare looks whether the other implementation read the same. It refuses messages for options that we pass over.
func compare(t *testing.T, b []byte, p Packet) {
	length := int(b[4])<<8 | int(b[5])
	other, err := twin.ParseMessage(b[headerLen : headerLen+length])
	if err != nil {
		return
	}
	switch o := other.(type) {
	case *twin.NeighborSolicitation:
		if s, ok := p.Message.(*Solicitation); !ok || s.Target != o.TargetAddress {
			t.Errorf("read %+v, the other read %+v", p.Message, o)
		}
	case *twin.NeighborAdvertisement:
		a, ok := p.Message.(*Advertisement)
		if !ok || a.Target != o.TargetAddress || a.Router != o.Router || a.Solicited != o.Solicited || a.Override != o.Override {
			t.Errorf("read %+v, the other read %+v", p.Message, o)
		}
	case *twin.RouterAdvertisement:
		a, ok := p.Message.(*RouterAdvertisement)
		if !ok || a.Lifetime != o.RouterLifetime || a.Managed != o.ManagedConfiguration || a.Other != o.OtherConfiguration {
			t.Errorf("read %+v, the other read %+v", p.Message, o)
		}
	}
}

// machines gives a packet to both. Only a solicitation for the one address may be answered.
func machines(t *testing.T, p Packet) {
	now := time.Unix(1_000_000, 0)
	a := newAnswering("eth0", bobMAC, func() {}, func(netip.Addr) {})
	a.entries[target] = &entry{answer: Answer{Addr: target}}
	for _, out := range a.hear(p, now) {
		s, ok := p.Message.(*Solicitation)
		if !ok || s.Target != target || out.Src != target || !bytes.Equal(out.Message.(*Advertisement).MAC[:], bobMAC[:]) {
			t.Errorf("answered %+v with %+v", p.Message, out)
		}
		if _, err := Parse(out.Bytes(), false); err != nil && !errors.Is(err, errHeader) {
			t.Errorf("the answer to %+v is not valid: %v", p, err)
		}
	}
	d := newDiscovery(bobLink, func() float64 { return 0.5 }, func() {}, func(knock) bool { return true })
	d.want, d.local = RouterLink{Advertise: true}, local
	d.tick(now)
	d.hear(p, now)
	for range 100 {
		send, next := d.tick(now)
		if len(send) > 4 {
			t.Fatalf("%d packets at once after %+v", len(send), p)
		}
		if !next.After(now) && !next.IsZero() {
			t.Fatalf("asks to be called at %v at %v", next, now)
		}
		now = next
		if next.IsZero() {
			return
		}
	}
}
