package prefix

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

func TestChild(t *testing.T) {
	for _, c := range []struct {
		parent string
		bits   int
		n      uint64
		want   string // empty: an error
	}{
		{"2001:db8::/37", 44, 0, "2001:db8::/44"},
		{"2001:db8::/37", 44, 127, "2001:db8:7f0::/44"},
		{"2001:db8::/37", 44, 128, ""},
		{"2001:db8::/54", 64, 18, "2001:db8:0:12::/64"},
		{"2001:db8::/54", 64, 1023, "2001:db8:0:3ff::/64"},
		{"2001:db8::/54", 64, 1024, ""},
		{"2001:db8::/64", 80, 65535, "2001:db8::ffff:0:0:0/80"},
		{"2001:db8::/64", 128, math.MaxUint64, "2001:db8::ffff:ffff:ffff:ffff/128"},
		{"2001:db8::/60", 128, 1 << 63, "2001:db8::8000:0:0:0/128"},
		{"2001:db8::/64", 64, 0, "2001:db8::/64"},
		{"2001:db8::/64", 64, 1, ""},
		{"2001:db8::/64", 63, 0, ""},
		{"2001:db8::/64", 129, 0, ""},
		{"::/0", 1, 1, "8000::/1"},
		{"10.0.0.0/8", 24, 65535, "10.255.255.0/24"},
		{"10.0.0.0/8", 24, 65536, ""},
		{"10.0.0.0/8", 33, 0, ""},
		{"2001:db8::1/64", 80, 0, ""},
		{"::ffff:10.0.0.0/104", 112, 0, ""},
	} {
		got, err := Child(pfx(c.parent), c.bits, c.n)
		if c.want == "" {
			if err == nil {
				t.Errorf("Child(%s, /%d, %d) = %s, want an error", c.parent, c.bits, c.n, got)
			}
			continue
		}
		if err != nil || got != pfx(c.want) {
			t.Errorf("Child(%s, /%d, %d) = %s, %v, want %s", c.parent, c.bits, c.n, got, err, c.want)
		}
	}
	if _, err := Child(pfx("2001:db8::/54"), 64, 1024); !errors.Is(err, ErrTooFar) {
		t.Errorf("the child after the last gives %v, want ErrTooFar", err)
	}
}

// The slow twin of Child does the same sum with math/big.
func TestChildAndIndexAgainstBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var raw [16]byte
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		parent := netip.PrefixFrom(netip.AddrFrom16(raw), r.IntN(129)).Masked()
		if parent.Addr().Is4In6() {
			continue
		}
		bits := parent.Bits() + r.IntN(min(129-parent.Bits(), 64))
		n := r.Uint64N(Count(parent, bits))
		child, err := Child(parent, bits, n)
		if err != nil {
			t.Fatal(err)
		}
		base := new(big.Int).SetBytes(parent.Addr().AsSlice())
		sum := new(big.Int).Add(base, new(big.Int).Lsh(new(big.Int).SetUint64(n), uint(128-bits)))
		if got := new(big.Int).SetBytes(child.Addr().AsSlice()); got.Cmp(sum) != 0 {
			t.Fatalf("Child(%s, /%d, %d) = %s, big says %x", parent, bits, n, child, sum)
		}
		if i, err := Index(parent, child); err != nil || i != n {
			t.Fatalf("Index(%s, %s) = %d, %v, want %d", parent, child, i, err, n)
		}
		if !ContainsPrefix(parent, child) || !parent.Contains(Last(child)) {
			t.Fatalf("%s does not contain its child %s", parent, child)
		}
		hi, lo := HostPart(Last(child), parent.Bits())
		if a, err := Join(parent, hi, lo); err != nil || a != Last(child) {
			t.Fatalf("Join(%s, HostPart(%s)) = %s, %v", parent, Last(child), a, err)
		}
	}
}

func TestIndexRefuses(t *testing.T) {
	for _, c := range [][2]string{
		{"2001:db8::/64", "2001:db8::/63"},
		{"2001:db8::/64", "2001:db8:0:1::/80"},
		{"2001:db8::/48", "10.0.0.0/8"},
		{"2001:db8::/32", "2001:db8::1/128"},
	} {
		if n, err := Index(pfx(c[0]), pfx(c[1])); err == nil {
			t.Errorf("Index(%s, %s) = %d, want an error", c[0], c[1], n)
		}
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		p    string
		bits int
		want uint64
	}{
		{"2001:db8::/37", 44, 128}, {"2001:db8::/64", 64, 1}, {"2001:db8::/64", 63, 0}, {"2001:db8::/64", 127, 1 << 63},
		{"2001:db8::/64", 128, math.MaxUint64}, {"2001:db8::/64", 129, 0}, {"10.0.0.0/8", 24, 65536}, {"10.0.0.0/8", 33, 0},
	} {
		if got := Count(pfx(c.p), c.bits); got != c.want {
			t.Errorf("Count(%s, /%d) = %d, want %d", c.p, c.bits, got, c.want)
		}
	}
}

func TestLastAndJoin(t *testing.T) {
	for p, want := range map[string]string{
		"2001:db8::/32": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::1/128": "2001:db8::1",
		"::/0": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "10.0.0.0/8": "10.255.255.255", "10.0.0.1/32": "10.0.0.1",
	} {
		if got := Last(pfx(p)); got != addr(want) {
			t.Errorf("Last(%s) = %s, want %s", p, got, want)
		}
	}
	if a, err := Join(pfx("2001:db8::/80"), 0, 1<<48); err == nil {
		t.Errorf("Join dropped a bit and gave %s", a)
	}
	if a, err := Join(pfx("10.0.0.0/8"), 1, 0); err == nil {
		t.Errorf("Join dropped a bit and gave %s", a)
	}
	if a, err := Join(pfx("10.0.0.0/8"), 0, 5); err != nil || a != addr("10.0.0.5") {
		t.Errorf("Join(10.0.0.0/8, 5) = %s, %v", a, err)
	}
}
