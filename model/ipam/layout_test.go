package ipam

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func seal(t testing.TB) *Seal {
	t.Helper()
	s, err := NewSeal([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func layout(t testing.TB, prefix string, s *Seal) Layout {
	t.Helper()
	l, err := NewLayout(netip.MustParsePrefix(prefix), s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLayoutWritesWhatTheDesignShows(t *testing.T) {
	tests := []struct {
		name, prefix string
		fields       Fields
		want         string
	}{
		{"wide", "2001:db8:a000:c12::/64", Fields{Identity: 0x1a7, Born: 0x038b8d98, Sequence: 3}, "2001:db8:a000:c12:1a7:38b:8d98:3"},
		{"wide twin", "2001:db8:a000:c12::/64", Fields{Identity: 0x1a7, Twin: true, Born: 0x038b8d98, Sequence: 3}, "2001:db8:a000:c12:1a7:838b:8d98:3"},
		{"wide router", "2001:db8:a000:c12::/64", Fields{Identity: 1, Sequence: 1}, "2001:db8:a000:c12:1::1"},
		{"wide in a /60", "2001:db8:a000:c10::/60", Fields{Identity: 0x100, Born: 1}, "2001:db8:a000:c10:100:0:1:0"},
		{"mid", "2001:db8:1:2:3::/80", Fields{Identity: 0x1a7, Counter: 5}, "2001:db8:1:2:3:1a7:0:5"},
		{"mid twin", "2001:db8:1:2:3::/80", Fields{Identity: 0x1a7, Twin: true, Counter: 5}, "2001:db8:1:2:3:1a7:8000:5"},
		{"narrow", "2001:db8:1:2:3::/112", Fields{Counter: 0xfe}, "2001:db8:1:2:3::fe"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := layout(t, test.prefix, nil)
			got, err := l.Encode(test.fields)
			if err != nil || got.String() != test.want {
				t.Fatalf("Encode: got %s, %v; want %s", got, err, test.want)
			}
			if back, err := l.Decode(got); err != nil || back != test.fields {
				t.Fatalf("Decode: got %+v, %v; want %+v", back, err, test.fields)
			}
		})
	}
}

func TestLayoutRefuses(t *testing.T) {
	for _, prefix := range []string{"192.0.2.0/24", "::ffff:192.0.2.0/120", "2001:db8::1/64", "2001:db8::/127"} {
		if _, err := NewLayout(netip.MustParsePrefix(prefix), nil); err == nil {
			t.Errorf("NewLayout(%s): no error", prefix)
		}
	}
	if _, err := NewLayout(netip.MustParsePrefix("2001:db8::/80"), seal(t)); err == nil {
		t.Error("NewLayout of a sealed /80: no error")
	}
	wide, mid := layout(t, "2001:db8::/64", nil), layout(t, "2001:db8::/80", nil)
	for _, f := range []Fields{{Identity: 256, Born: maxBorn + 1}, {Identity: 256, Born: -1}, {}} {
		if a, err := wide.Encode(f); err == nil {
			t.Errorf("Encode(%+v): got %s, want an error", f, a)
		}
	}
	if _, err := mid.Encode(Fields{Identity: 256, Counter: 1 << 31}); err == nil {
		t.Error("a counter of 32 bits was accepted in a /80")
	}
	for _, addr := range []string{"2001:db8:0:1::1", "192.0.2.1"} {
		if _, err := wide.Decode(netip.MustParseAddr(addr)); err == nil {
			t.Errorf("Decode(%s): no error", addr)
		}
	}
	if _, err := layout(t, "2001:db8::/60", nil).Decode(netip.MustParseAddr("2001:db8:0:1:100::1")); err == nil {
		t.Error("Decode accepted bits between a /60 and the host part")
	}
}

func TestRFC5453ReservedInterfaceIdentifiers(t *testing.T) {
	for iid, want := range map[uint64]bool{
		0: true, 1: false,
		0x02005efffdffffff: false, 0x02005efffe000000: true, 0x02005efffe005213: true, 0x02005efffeffffff: true, 0x02005effff000000: false,
		0xfdffffffffffff7f: false, 0xfdffffffffffff80: true, 0xfdffffffffffffff: true, 0xfe00000000000000: false,
		0xffffffffffffff7f: false, 0xffffffffffffff80: true, 0xffffffffffffffff: true,
	} {
		if got := reservedInterfaceID(iid); got != want {
			t.Errorf("%016x: reserved is %v, want %v", iid, got, want)
		}
	}
}

func TestRFC2526ReservedInShortHostParts(t *testing.T) {
	l := layout(t, "2001:db8::/112", nil)
	for counter, want := range map[uint64]bool{0: true, 1: true /* the router */, 2: false, 0xff7f: false, 0xff80: true, 0xffff: true} {
		if got := l.reserved(counter); got != want {
			t.Errorf("counter %x of a /112: reserved is %v, want %v", counter, got, want)
		}
	}
}

func TestSealIsAPermutationWithoutReservedValues(t *testing.T) {
	l := layout(t, "2001:db8:a000:c12::/64", seal(t))
	other, err := NewSeal([]byte("another key 1234"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := layout(t, "2001:db8:a000:c12::/64", other)
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[netip.Addr]bool{}
	readable := 0
	for range 20_000 {
		f := Fields{Identity: uint16(0x100 + random.UintN(0xff00)), Twin: random.UintN(2) == 1, Born: Seconds(random.UintN(maxBorn)), Sequence: uint16(random.Uint32())}
		a, err := l.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		if seen[a] {
			t.Fatalf("%s twice", a)
		}
		seen[a] = true
		if back, err := l.Decode(a); err != nil || back != f {
			t.Fatalf("%s: got %+v, %v; want %+v", a, back, err, f)
		}
		if back, _ := foreign.Decode(a); back.Born == f.Born || back.Identity == f.Identity {
			readable++
		}
	}
	if readable > 20 { // of 20,000, chance says less than one
		t.Errorf("%d addresses told something without the key", readable)
	}
}

// The walk around reserved values is compared with a slow twin: a table of a small permutation.
func TestSealWalksTheCycle(t *testing.T) {
	s := seal(t)
	reserved := func(v uint64) bool { return v%4 != 0 } // three of four
	for v := uint64(0); v < 4000; v += 4 {
		sealed := s.close(7, v, reserved)
		if reserved(sealed) {
			t.Fatalf("%d became the reserved %d", v, sealed)
		}
		if back := s.open(7, sealed, reserved); back != v {
			t.Fatalf("%d came back as %d", v, back)
		}
	}
}

func TestSealedPrefixKeepsTheHostsOwnAddressesClear(t *testing.T) {
	l := layout(t, "2001:db8:a000:c12::/64", seal(t))
	router := netip.MustParseAddr("2001:db8:a000:c12:1::1")
	if got, err := l.Encode(Fields{Identity: IdentityHost, Sequence: 1}); err != nil || got != router {
		t.Errorf("router address: got %s, %v; want %s", got, err, router)
	}
	if f, err := l.Decode(router); err != nil || f.Identity != IdentityHost {
		t.Errorf("decode the router address: got %+v, %v", f, err)
	}
}

func TestTwin(t *testing.T) {
	for _, s := range []*Seal{nil, seal(t)} {
		l := layout(t, "2001:db8:a000:c12::/64", s)
		f := Fields{Identity: 300, Born: 60_000_000, Sequence: 9}
		a, err := l.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		twin, ok := l.Twin(a)
		f.Twin = true
		if back, err := l.Decode(twin); !ok || err != nil || back != f || twin == a {
			t.Errorf("twin of %s: got %s (%+v), %v, %v", a, twin, back, ok, err)
		}
	}
	if _, ok := layout(t, "2001:db8::/112", nil).Twin(netip.MustParseAddr("2001:db8::5")); ok {
		t.Error("a narrow prefix has twins")
	}
}

func TestSecondsPrintAsUTC(t *testing.T) {
	for unix, want := range map[int64]string{
		Epoch: "2025-01-01T00:00:00Z", 0: "1970-01-01T00:00:00Z", -1: "1969-12-31T23:59:59Z", 1709164800: "2024-02-29T00:00:00Z",
		1795237969: "2026-11-21T05:12:49Z", 3883173247: "2093-01-19T03:14:07Z",
	} {
		if got := FromUnix(unix).String(); got != want {
			t.Errorf("unix %d: got %s, want %s", unix, got, want)
		}
		var back Seconds
		if err := back.UnmarshalText([]byte(want)); err != nil || back != FromUnix(unix) {
			t.Errorf("%s: got %d, %v; want %d", want, back, err, FromUnix(unix))
		}
	}
}

func TestSecondsRefuseWhatIsNoTime(t *testing.T) {
	for _, text := range []string{"", "2026-02-29T00:00:00Z", "2026-11-21", "2026-11-21T24:00:00Z", "2026-11-21T05:12:49+01:00"} {
		var s Seconds
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, s)
		}
	}
}

// Addresses in old logs must open with the key for ever, so the permutation may never change.
func TestSealedAddressesStayReadable(t *testing.T) {
	l := layout(t, "2001:db8:a000:c12::/64", seal(t))
	got, err := l.Encode(Fields{Identity: 0x1a7, Born: 0x038b8d98, Sequence: 3})
	if want := netip.MustParseAddr("2001:db8:a000:c12:7e09:9e09:d85b:7349"); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
