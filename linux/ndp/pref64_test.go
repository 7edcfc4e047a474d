package ndp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// What routers tell counts for as long as they said, each for itself.
func TestRFC8781_4_1_Lifetimes(t *testing.T) {
	one, two := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
	wkp, own := netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2001:db8:64::/96")
	m := newDiscovery(bobLink, func() float64 { return 0.5 }, func() {}, func(knock) bool { return true })
	m.local = netip.MustParseAddr("fe80::b")
	at := start
	says := func(router netip.Addr, says ...Pref64) {
		m.hear(Packet{Src: router, SrcMAC: aliceMAC, Message: &RouterAdvertisement{Pref64: says}}, at)
	}
	holds := func(when string, want ...netip.Prefix) {
		t.Helper()
		m.tick(at)
		var got []netip.Prefix
		for _, p := range m.pref64.all() {
			got = append(got, p.Prefix)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	says(one, Pref64{Prefix: own, Lifetime: 16 * time.Second}, Pref64{Prefix: wkp, Lifetime: time.Minute})
	says(two, Pref64{Prefix: own, Lifetime: 24 * time.Second})
	holds("two routers", wkp, own, own)
	at = at.Add(8 * time.Second)
	says(one) // without the option
	holds("not mentioned", wkp, own, own)
	says(one, Pref64{Prefix: own})
	holds("withdrawn by one router", wkp, own)
	says(two, Pref64{Prefix: own, Lifetime: 16 * time.Second})
	at = at.Add(15 * time.Second)
	holds("renewed", wkp, own)
	at = at.Add(time.Second)
	holds("over", wkp)
	if _, next := m.tick(at); next.After(start.Add(time.Minute)) {
		t.Errorf("looks again at %v, want when the last one is over", next.Sub(start))
	}
	m.begin()
	holds("plugged in anew", wkp)
	at = at.Add(doubt)
	holds("nobody told it since")
	for i := range 2 * maxTold {
		says(one, Pref64{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 2: byte(i)}), 32), Lifetime: time.Hour})
	}
	m.tick(at)
	if n := len(m.pref64.all()); n != maxTold {
		t.Errorf("%d prefixes are remembered, want %d", n, maxTold)
	}
}

// A reserved length code is no prefix, and it is told that it came.
func TestRFC8781_4_ReservedLengthCode(t *testing.T) {
	r := good(typeRouterAdvertisement)
	r.body = append(r.body, optionPref64, 2, 0, 8|6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0)
	p, err := Parse(r.bytes(), false)
	if err != nil {
		t.Fatal(err)
	}
	got := p.Message.(*RouterAdvertisement).Pref64
	if want := []Pref64{{netip.MustParsePrefix("2001:db8::/96"), 8 * time.Second, true}}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// A link with many neighbours hears its routers all the same, and asks for them three times at most.
func TestListenerOnAFullLink(t *testing.T) {
	m := newDiscovery(bobLink, func() float64 { return 0.5 }, func() {}, func(knock) bool { return true })
	m.want, m.local = RouterLink{Ask: true}, netip.MustParseAddr("fe80::b")
	for i := range 2 * maxNeighbours {
		m.hear(Packet{Src: netip.MustParseAddr("fe80::1:0").Next(), SrcMAC: MAC{2, 1, byte(i)}, Message: &Solicitation{Target: local}}, start)
	}
	sent, _ := play(m, start, 5*time.Minute)
	asked := 0
	for _, p := range sent {
		switch p.Message.(type) {
		case *RouterSolicitation:
			asked++
		default:
			t.Errorf("a listener says %+v", p.Message)
		}
	}
	if asked != askTimes {
		t.Errorf("asked %d times, want %d", asked, askTimes)
	}
	m.hear(Packet{Src: local, SrcMAC: aliceMAC, Message: &RouterAdvertisement{Lifetime: time.Hour}}, start)
	if list := m.routers(); len(list) != 1 || list[0].Addr != local {
		t.Errorf("routers %v, want the one of the link", list)
	}
}
