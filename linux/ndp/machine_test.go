package ndp

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"hexapod.dev/linux/rtnl"
)

var bobLink = rtnl.Link{Name: "eth0", Index: 7, MAC: bobMAC}

var start = time.Unix(1_000_000, 0)

// play runs a machine on its own times for d and returns what it sent.
func play(m machine, now time.Time, d time.Duration) (sent []Packet, at []time.Duration) {
	for end := now.Add(d); ; {
		send, next := m.tick(now)
		for _, p := range send {
			sent, at = append(sent, p), append(at, now.Sub(start))
		}
		if next.IsZero() || next.After(end) {
			return sent, at
		}
		now = next
	}
}

func answeringFor(addrs ...netip.Addr) *answering {
	m := newAnswering("eth0", bobMAC, func() {}, func(netip.Addr) {})
	for _, a := range addrs {
		m.use(Answer{Addr: a})
	}
	return m
}

func TestRFC4861_7_2_6_ThreeAnnouncements(t *testing.T) {
	sent, at := play(answeringFor(target), start, time.Hour)
	if len(sent) != 3 || at[0] != 0 || at[1] != time.Second || at[2] != 2*time.Second {
		t.Fatalf("%d announcements at %v, want three, a second apart", len(sent), at)
	}
	for _, p := range sent {
		a := p.Message.(*Advertisement)
		if p.Src != target || p.Dst != allNodes || a.Solicited || !a.Override || a.Router || a.MAC != bobMAC {
			t.Errorf("announced %+v %+v", p, a)
		}
	}
}

// Many addresses are announced at a bounded rate, each of them three times, none forgotten.
func TestAnnouncementsAreBounded(t *testing.T) {
	var addrs []netip.Addr
	for a := target; len(addrs) < 3000; a = a.Next() {
		addrs = append(addrs, a)
	}
	sent, at := play(answeringFor(addrs...), start, time.Hour)
	if len(sent) != 9000 {
		t.Errorf("%d announcements of 3000 addresses, want 9000", len(sent))
	}
	for i := range at {
		if j := i + announceRate + announceBurst; j < len(at) && at[j]-at[i] < time.Second {
			t.Fatalf("%d announcements from %v to %v", j-i, at[i], at[j])
		}
	}
}

func TestRFC4861_7_2_4_Flags(t *testing.T) {
	for _, tc := range []struct {
		name      string
		src, dst  netip.Addr
		mac       MAC
		to        netip.Addr
		toMAC     MAC
		solicited bool
	}{
		{"to the group", alice, Group(target), MAC{2, 1}, alice, MAC{2, 1}, true},
		{"to the address", alice, target, MAC{2, 1}, alice, MAC{2, 1}, true},
		{"to the address, without the asker's MAC", alice, target, MAC{}, alice, aliceMAC, true},
		{"RFC 4862 5.4.4, by a claimant", anywhere, Group(target), MAC{}, allNodes, groupMAC(allNodes), false},
	} {
		got := answeringFor(target).hear(Packet{Src: tc.src, Dst: tc.dst, SrcMAC: aliceMAC, Message: &Solicitation{Target: target, MAC: tc.mac}}, start)
		if len(got) != 1 {
			t.Errorf("%s: %d answers", tc.name, len(got))
			continue
		}
		a := got[0].Message.(*Advertisement)
		if got[0].Src != target || got[0].Dst != tc.to || got[0].DstMAC != tc.toMAC || a.Solicited != tc.solicited || !a.Override || a.Router || a.MAC != bobMAC {
			t.Errorf("%s: %+v %+v", tc.name, got[0], a)
		}
	}
	m := answeringFor(target)
	if got := m.hear(Packet{Src: alice, Dst: Group(target), SrcMAC: aliceMAC, Message: &Solicitation{Target: target.Next()}}, start); got != nil {
		t.Errorf("answers for an address that does not live: %+v", got)
	}
	if got := m.hear(Packet{Src: anywhere, Dst: Group(target), SrcMAC: bobMAC, Message: &Solicitation{Target: target}}, start); got != nil {
		t.Errorf("answers itself: %+v", got)
	}
}

func TestRFC4862_5_4_Probe(t *testing.T) {
	nonce := []byte{1, 2, 3, 4, 5, 6}
	for _, tc := range []struct {
		name string
		hear Packet
		free bool
	}{
		{"silence", Packet{}, true},
		{"5.4.4 an advertisement", Packet{Src: target, SrcMAC: aliceMAC, Message: &Advertisement{Target: target, MAC: aliceMAC}}, false},
		{"5.4.3 another probe", Packet{Src: anywhere, SrcMAC: aliceMAC, Message: &Solicitation{Target: target}}, false},
		{"5.4.3 somebody who looks for it", Packet{Src: alice, SrcMAC: aliceMAC, Message: &Solicitation{Target: target}}, true},
		{"RFC 7527 4.1 our own, sent back", Packet{Src: anywhere, SrcMAC: aliceMAC, Message: &Solicitation{Target: target, Nonce: nonce}}, true},
	} {
		m := answeringFor()
		done := make(chan error, 1)
		m.try(Answer{Addr: target, Shared: true}, nonce, done)
		sent, _ := play(m, start, retransTimer/2)
		if len(sent) != 1 || sent[0].Src != anywhere || sent[0].Dst != Group(target) {
			t.Fatalf("%s: sent %+v, want one probe", tc.name, sent)
		}
		if tc.hear.Message != nil {
			if got := m.hear(tc.hear, start.Add(retransTimer/2)); got != nil {
				t.Errorf("%s: a tentative address answers: %+v", tc.name, got)
			}
		}
		play(m, start.Add(retransTimer/2), time.Hour)
		_, duplicate := errors.AsType[*DuplicateError](<-done)
		if duplicate == tc.free || (m.entries[target] != nil) != tc.free {
			t.Errorf("%s: duplicate %v, want free %v", tc.name, duplicate, tc.free)
		}
	}
}

func TestVerdicts(t *testing.T) {
	router := Packet{Src: local, SrcMAC: aliceMAC, Message: &RouterAdvertisement{Lifetime: 30 * time.Second}}
	quiet := Packet{Src: local, SrcMAC: aliceMAC, Message: &RouterAdvertisement{}}
	second := Packet{Src: local.Next(), SrcMAC: MAC{2, 9}, Message: &RouterSolicitation{}}
	own := netip.MustParseAddr("fe80::b")
	for _, tc := range []struct {
		name  string
		own   netip.Addr
		peer  bool
		after time.Duration
		hear  []Packet
		want  string
	}{
		{"no address", netip.Addr{}, false, 5 * time.Second, nil, string(NoLinkLocal)},
		{"at first", own, false, 0, nil, string(Listening)},
		{"alone", own, false, listenFirst, nil, ""},
		{"one that is no default router", own, false, listenFirst, []Packet{quiet}, ""},
		{"a default router", own, false, listenFirst, []Packet{router}, string(OtherRouter)},
		{"a default router where one is expected", own, true, listenFirst, []Packet{router}, string(AskingRouter)},
		{"two neighbours", own, false, listenFirst, []Packet{quiet, second}, string(ManyNeighbours)},
		{"two neighbours where one router is expected", own, true, listenFirst, []Packet{router, second}, string(ManyNeighbours)},
	} {
		m := newDiscovery(bobLink, func() float64 { return 0.5 }, func() {}, func(knock) bool { return true })
		m.want, m.local = RouterLink{Advertise: true, RouterPeer: tc.peer}, tc.own
		m.tick(start)
		for _, p := range tc.hear {
			m.hear(p, start)
		}
		if got := m.verdict(start.Add(tc.after)); string(got) != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		sent, _ := play(m, start, listenFirst-1)
		for _, p := range sent {
			if _, ra := p.Message.(*RouterAdvertisement); ra && tc.want != "" {
				t.Errorf("%s: advertises", tc.name)
			}
		}
	}
}

// RFC 4861 6.2.4: advertisements come at random times within the interval; 6.2.6: a question is answered within half a second.
func TestRFC4861_6_2_Times(t *testing.T) {
	m := newDiscovery(bobLink, func() float64 { return 0.5 }, func() {}, func(knock) bool { return true })
	m.want, m.local = RouterLink{Advertise: true}, netip.MustParseAddr("fe80::b")
	sent, at := play(m, start, 2*time.Minute)
	var last time.Duration
	count := 0
	for i, p := range sent {
		if _, ra := p.Message.(*RouterAdvertisement); !ra {
			continue
		}
		if gap := at[i] - last; count > 0 && (gap < minInterval || gap > maxInterval) {
			t.Errorf("an advertisement %v after the one before", gap)
		}
		last, count = at[i], count+1
	}
	if count < 12 {
		t.Errorf("%d advertisements in two minutes", count)
	}
	now := start.Add(2 * time.Minute)
	m.hear(Packet{Src: local, SrcMAC: aliceMAC, Message: &RouterSolicitation{}}, now)
	answer, _ := play(m, now, replyDelay-1)
	if len(answer) != 1 || answer[0].Dst != local || answer[0].DstMAC != aliceMAC {
		t.Errorf("answered %+v, want one advertisement to who asked", answer)
	}
}

// A default router where one is expected is asked whether it speaks BGP, soon at first and then seldom, and by nobody else. Nothing is
// advertised before it does.
func TestDefaultRouterIsAskedForBGP(t *testing.T) {
	var asked []knock
	m := newDiscovery(bobLink, func() float64 { return 0.5 }, func() {}, func(k knock) bool {
		asked = append(asked, k)
		return true
	})
	m.want, m.local = RouterLink{Advertise: true, RouterPeer: true, Password: "open sesame"}, netip.MustParseAddr("fe80::b")
	advertised := func(sent []Packet) bool {
		return slices.ContainsFunc(sent, func(p Packet) bool { _, ra := p.Message.(*RouterAdvertisement); return ra })
	}
	router := Packet{Src: local, Dst: allNodes, SrcMAC: aliceMAC, Message: &RouterAdvertisement{Lifetime: 30 * time.Minute}}
	now := start
	m.hear(router, now)
	for i := range 2 * knockOften {
		sent, next := m.tick(now)
		if len(asked) != i+1 || advertised(sent) {
			t.Fatalf("asked %d times, sent %+v", len(asked), sent)
		}
		want := knock{link: bobLink, local: m.local, peer: local, mac: aliceMAC, password: "open sesame"}
		if asked[i] != want {
			t.Fatalf("asked %+v, want %+v", asked[i], want)
		}
		if _, later := m.tick(now); len(asked) != i+1 || later != next {
			t.Fatal("asks twice at once")
		}
		m.answered(aliceMAC, local, false, now)
		if why := m.verdict(now); why != NotOfFabric {
			t.Fatalf("refused %d times: %q", i+1, why)
		}
		pause := knockSoon
		if i >= knockOften {
			pause = knockLater
		}
		sent, _ = play(m, now, pause-1)
		if len(asked) != i+1 || advertised(sent) {
			t.Fatalf("asked %d times before %v are over, sent %+v", len(asked), pause, sent)
		}
		now = now.Add(pause)
		m.hear(router, now)
	}
	m.tick(now)
	m.answered(aliceMAC, local, true, now)
	if sent, _ := m.tick(now); !advertised(sent) {
		t.Errorf("a router that speaks BGP is not told of this host: %q", m.verdict(now))
	}
	m.hear(Packet{Src: local.Next(), Dst: allNodes, SrcMAC: MAC{2, 9}, Message: &RouterAdvertisement{Lifetime: time.Minute}}, now)
	if why := m.verdict(now); why != ManyNeighbours {
		t.Errorf("beside a second router: %q", why)
	}
}

// Two hosts that know the router of their link already still hear of each other: each asks for routers once.
func TestHostsBesideAKnownRouter(t *testing.T) {
	m := newDiscovery(bobLink, func() float64 { return 0 }, func() {}, func(knock) bool { return true })
	m.want, m.local = RouterLink{Advertise: true, RouterPeer: true}, netip.MustParseAddr("fe80::b")
	routerMAC := MAC{2, 0, 0, 0, 0, 9}
	m.hear(Packet{Src: netip.MustParseAddr("fe80::1"), Dst: allNodes, SrcMAC: routerMAC, Message: &RouterAdvertisement{MAC: routerMAC}}, start)
	sent, _ := m.tick(start)
	if len(sent) != 1 || sent[0].Dst != allRouters {
		t.Fatalf("sent %+v, want one router solicitation", sent)
	}
	m.hear(Packet{Src: netip.MustParseAddr("fe80::a"), Dst: allRouters, SrcMAC: aliceMAC, Message: &RouterSolicitation{MAC: aliceMAC}}, start.Add(listenPeer/2))
	sent, _ = play(m, start.Add(listenPeer/2), idleBeforeTest/2)
	for _, p := range sent {
		if _, ok := p.Message.(*RouterAdvertisement); ok {
			t.Fatalf("advertises beside a router and another host: %+v", p)
		}
	}
}
