package identity

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// third reads the fifth 16-bit group, which is where a /64 carries its identity.
func third(a netip.Addr) (Number, bool) {
	b := a.As16()
	return Number(b[8])<<8 | Number(b[9]), true
}

func none(netip.Addr) (Number, bool) { return 0x999, false }

func TestWho(t *testing.T) {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	d := NewDirectory(TrustBits).
		WithBearing(p("2001:db8:0:1::/64"), third).
		WithBearing(p("2001:db8:ffff::/48"), none).
		WithPrefix(p("2001:db8:0:1:300::/80"), 0x200).
		WithPrefix(p("2001:db8::/32"), 0x201).
		WithPrefix(p("2001:db8:0:1::/64"), 0x202).
		With(a("2001:db8:0:1:101::5"), 0x300).
		With(a("192.0.2.7"), 0x301)
	bitsOnly := NewDirectory(TrustBits).WithBearing(p("2001:db8:0:1::/64"), third).WithBearing(p("2001:db8:ffff::/48"), none)
	exact := *d
	exact.trust, exact.prefixes = TrustExact, bitsOnly.prefixes
	for _, c := range []struct {
		name string
		d    *Directory
		a    string
		want Answer
	}{
		{"exact before prefix and bits", d, "2001:db8:0:1:101::5", Answer{0x300, ByEntry}},
		{"longest prefix", d, "2001:db8:0:1:300::1", Answer{0x200, ByPrefix}},
		{"prefix before bits", d, "2001:db8:0:1:101::6", Answer{0x202, ByPrefix}},
		{"bits", bitsOnly, "2001:db8:0:1:101::6", Answer{0x101, ByBits}},
		{"inside, number not known yet", bitsOnly, "2001:db8:0:1:0:1::6", Answer{Unknown, ByBits}},
		{"the host", bitsOnly, "2001:db8:0:1:1::1", Answer{Host, ByBits}},
		{"same bits under a foreign prefix", bitsOnly, "2001:db8:0:2:101::6", Answer{Unknown, Outside}},
		{"a prefix whose addresses carry none", bitsOnly, "2001:db8:ffff::1", Answer{Unknown, Outside}},
		{"bits are not trusted", &exact, "2001:db8:0:1:101::6", Answer{Unknown, Outside}},
		{"entries are", &exact, "2001:db8:0:1:101::5", Answer{0x300, ByEntry}},
		{"IPv4", d, "192.0.2.7", Answer{0x301, ByEntry}},
		{"IPv4 in IPv6", d, "::ffff:192.0.2.7", Answer{0x301, ByEntry}},
		{"another IPv4", d, "192.0.2.8", Answer{Unknown, Outside}},
		{"a zone changes nothing", bitsOnly, "2001:db8:0:1:101::6%eth0", Answer{0x101, ByBits}},
	} {
		if got := c.d.Who(a(c.a)); got != c.want {
			t.Errorf("%s: %s is %v, want %v", c.name, c.a, got, c.want)
		}
	}
	if got := d.Without(a("2001:db8:0:1:101::5")).Who(a("2001:db8:0:1:101::5")); got != (Answer{0x202, ByPrefix}) {
		t.Errorf("after its entry is gone: %v", got)
	}
	if got := d.Who(a("2001:db8:0:1:101::5")); got.By != ByEntry {
		t.Errorf("Without changed the directory it was called on: %v", got)
	}
}

// list is the slow twin of Directory: the rules, read from the top, over plain lists.
type list struct {
	trust           Trust
	exact, prefixes map[netip.Prefix]Number
	bearing         map[netip.Prefix]Decode
}

func longest[V any](m map[netip.Prefix]V, a netip.Addr) (v V, ok bool) {
	bits := -1
	for p, x := range m {
		if p.Contains(a) && p.Bits() > bits {
			v, ok, bits = x, true, p.Bits()
		}
	}
	return v, ok
}

func (l list) Who(a netip.Addr) Answer {
	if n, ok := longest(l.exact, a); ok {
		return Answer{n, ByEntry}
	}
	if n, ok := longest(l.prefixes, a); ok {
		return Answer{n, ByPrefix}
	}
	if decode, ok := longest(l.bearing, a); ok && l.trust == TrustBits {
		if n, carried := decode(a); carried {
			return Answer{n, ByBits}
		}
	}
	return Answer{Unknown, Outside}
}

// TestDirectoryAgainstList asks both about 20,000 addresses of a small world, where entries meet often.
func TestDirectoryAgainstList(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		addr := func() netip.Addr {
			b := netip.MustParseAddr("2001:db8::").As16()
			for _, i := range []int{7, 8, 9, 15} {
				b[i] = byte(rnd.IntN(4))
			}
			return netip.AddrFrom16(b)
		}
		slow := list{TrustBits, map[netip.Prefix]Number{}, map[netip.Prefix]Number{}, map[netip.Prefix]Decode{}}
		if seed%4 == 3 {
			slow.trust = TrustExact
		}
		fast := NewDirectory(slow.trust)
		for i := range 60 {
			a, n := addr(), Number(rnd.IntN(1<<16))
			switch i % 4 {
			case 0:
				slow.exact[netip.PrefixFrom(a, 128)] = n
				fast = fast.With(a, n)
			case 1:
				p := netip.PrefixFrom(a, 80+rnd.IntN(48)).Masked()
				slow.prefixes[p] = n
				fast = fast.WithPrefix(p, n)
			case 2:
				p := netip.PrefixFrom(a, 56+rnd.IntN(20)).Masked()
				slow.bearing[p] = third
				fast = fast.WithBearing(p, third)
			case 3:
				delete(slow.exact, netip.PrefixFrom(a, 128))
				fast = fast.Without(a)
			}
		}
		for range 1000 {
			a := addr()
			if got, want := fast.Who(a), slow.Who(a); got != want {
				t.Fatalf("seed %d: %s is %v, the list says %v", seed, a, got, want)
			}
		}
	}
}

func BenchmarkWho(b *testing.B) {
	d := NewDirectory(TrustBits)
	for i := range 1000 {
		d = d.WithBearing(netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i >> 8), byte(i)}), 64), third)
	}
	a := netip.MustParseAddr("2001:db8:0:123:1a7::5")
	b.ReportAllocs()
	for b.Loop() {
		d.Who(a)
	}
}
