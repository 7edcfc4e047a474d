package v1alpha1

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestRFC4193_3_2_2_RandomGlobalIDs: of a hundred thousand drawn ones at most ten are called weak, and the usual invented ones all are.
func TestRFC4193_3_2_2_RandomGlobalIDs(t *testing.T) {
	rnd := rand.New(rand.NewPCG(41, 93))
	weak := 0
	for range 100_000 {
		b := [16]byte{0xfd}
		for i := range 5 {
			b[1+i] = byte(rnd.Uint32())
		}
		if weakGlobalID(netip.PrefixFrom(netip.AddrFrom16(b), 48)) != "" {
			weak++
		}
	}
	if weak > 10 {
		t.Errorf("%d of 100,000 random global IDs are called weak", weak)
	}
	for _, r := range []string{
		"fd00::/48", "fd00:0:1::/48", "fd00:10:96::/112", "fdff:ffff:ffff::/48", "fd11:1111:1111::/48", "fd12:3456:789a::/64", "fdaa:bbaa:bbaa::/48",
		"fd01:203:405::/48", "fc00:1:2::/48", "fd5c:1a2b:3c00::/40",
	} {
		if weakGlobalID(netip.MustParsePrefix(r)) == "" {
			t.Errorf("%s passes as random", r)
		}
	}
}

// TestNamedRanges has one address of each range beside the ones in the goldens.
func TestNamedRanges(t *testing.T) {
	for r, want := range map[string]string{
		"64:ff9b::/96":   "the well-known NAT64 prefix (RFC 6052)",
		"64:ff9b:1::/56": "local-use NAT64 (RFC 8215)",
		"100::/64":       "discard-only (RFC 6666)",
		"5f00:1::/64":    "SRv6 SIDs (RFC 9602)",
		"201::/64":       "deprecated NSAP mapping (RFC 4048)",
		"::1:0/112":      "reserved by the IETF (RFC 4291 2.4)",
		"9000::/64":      "not assigned by IANA",
	} {
		if got, ok := within(netip.MustParsePrefix(r), unusual); !ok || got != want {
			t.Errorf("%s is %s, want %s", r, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	fields := []string{"prefix", "profile", "levels", "lab", "rest", "retention"}
	for word, want := range map[string]string{
		"prefx": "prefix", "Prefix": "prefix", "porfile": "profile", "level": "levels", "labs": "lab", "colour": "", "zzz": "", "": "",
	} {
		if got := nearest(word, fields); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
