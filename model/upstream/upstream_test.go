package upstream

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/xlat"
)

var byPrefix = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestJudge(t *testing.T) {
	pfx := netip.MustParsePrefix
	both := Rules{Sources: []Source{RA, DNS}, Own: []netip.Prefix{pfx("2001:db8:8000::/37")}}
	ra := func(p string, until int64) Claim {
		return Claim{Prefix: pfx(p), Source: RA, From: "fe80::1 on up0", Until: until}
	}
	dns := func(p string, until int64) Claim {
		return Claim{Prefix: pfx(p), Source: DNS, From: "udp://[2001:db8::53]:53", Until: until}
	}
	for _, tc := range []struct {
		name   string
		rules  Rules
		claims []Claim
		want   []string // prefix, and why it is not used
	}{
		{"nothing", both, nil, nil},
		{"one of a router", both, []Claim{ra("2001:db8:64::/96", 11)}, []string{"2001:db8:64::/96 "}},
		{"over", both, []Claim{ra("2001:db8:64::/96", 10)}, nil},
		{"RFC8781_5_1_RoutersBeforeResolvers", both, []Claim{dns("64:ff9b::/96", 99), ra("2001:db8:64::/96", 11)},
			[]string{"2001:db8:64::/96 ", "64:ff9b::/96 " + string(RoutersSay)}},
		{"RFC8781_5_1_RefusedRouterDoesNotCount", both, []Claim{dns("64:ff9b::/96", 99), ra("fe80::/64", 11)},
			[]string{"64:ff9b::/96 ", "fe80::/64 " + string(NotUnicast)}},
		{"RFC8781_5_1_SeveralOfRouters", both, []Claim{ra("2001:db8:65::/96", 11), ra("2001:db8:64::/96", 12)},
			[]string{"2001:db8:64::/96 ", "2001:db8:65::/96 "}},
		{"told by two, the longer one stands", both, []Claim{ra("64:ff9b::/96", 11), {Prefix: pfx("64:ff9b::/96"), Source: RA, From: "fe80::2 on up0", Until: 20}},
			[]string{"64:ff9b::/96 "}},
		{"not asked for", Rules{Sources: []Source{DNS}}, []Claim{ra("64:ff9b::/96", 11)}, []string{"64:ff9b::/96 " + string(NotAsked)}},
		{"RFC6052_2_2_Length", both, []Claim{ra("2001:db8:64::/72", 11)}, []string{"2001:db8:64::/72 " + string(BadForm)}},
		{"RFC6052_2_2_Bits64To71", both, []Claim{ra("2001:db8:64:0:100::/96", 11)}, []string{"2001:db8:64:0:100::/96 " + string(BadForm)}},
		{"of a link", both, []Claim{ra("fe80::/96", 11)}, []string{"fe80::/96 " + string(NotUnicast)}},
		{"multicast", both, []Claim{ra("ff00::/32", 11)}, []string{"ff00::/32 " + string(NotUnicast)}},
		{"loopback and unspecified", both, []Claim{ra("::/96", 11)}, []string{"::/96 " + string(NotUnicast)}},
		{"mapped", both, []Claim{{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96), Source: RA, Until: 11}},
			[]string{"::ffff:0.0.0.0/96 " + string(BadForm)}},
		{"discard only", both, []Claim{ra("100::/64", 11)}, []string{"100::/64 " + string(NotUnicast)}},
		{"more than the well-known one", both, []Claim{ra("64:ff9b::/64", 11)}, []string{"64:ff9b::/64 " + string(NotUnicast)}},
		{"RFC8215", both, []Claim{ra("64:ff9b:1::/48", 11)}, []string{"64:ff9b:1::/48 "}},
		{"inside the fabric", both, []Claim{ra("2001:db8:8010:401::/96", 11)}, []string{"2001:db8:8010:401::/96 " + string(OurOwn)}},
		{"around the fabric", both, []Claim{ra("2001:db8::/32", 11)}, []string{"2001:db8::/32 " + string(OurOwn)}},
		{"not accepted", Rules{Sources: []Source{RA}, Accept: []netip.Prefix{pfx("2001:db8:64::/48")}}, []Claim{ra("2001:db8:65::/96", 11), ra("2001:db8:64:1::/96", 11)},
			[]string{"2001:db8:64:1::/96 ", "2001:db8:65::/96 " + string(NotAccepted)}},
		{"broken", both, []Claim{{Prefix: pfx("2001:db8:64::/96"), Source: RA, Until: 11, Broken: BadCode}}, []string{"2001:db8:64::/96 " + string(BadCode)}},
		{"five", both, []Claim{ra("2001:db8:5::/96", 11), ra("2001:db8:4::/96", 11), ra("2001:db8:3::/96", 11), ra("2001:db8:2::/96", 11), ra("2001:db8:1::/96", 11)},
			[]string{"2001:db8:1::/96 ", "2001:db8:2::/96 ", "2001:db8:3::/96 ", "2001:db8:4::/96 ", "2001:db8:5::/96 " + string(Enough)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, v := range Judge(tc.rules, tc.claims, 10) {
				got = append(got, v.Prefix.String()+" "+string(v.Why))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("verdicts (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhyNone(t *testing.T) {
	used := []Verdict{{Claim: Claim{Prefix: xlat.WellKnown.Prefix()}}}
	refused := []Verdict{{Why: OurOwn}}
	for _, tc := range []struct {
		verdicts []Verdict
		had      bool
		want     desired.Why
	}{{used, false, ""}, {nil, false, NotFound}, {nil, true, Gone}, {refused, true, Refused}} {
		if got := WhyNone(tc.verdicts, tc.had); got != tc.want {
			t.Errorf("WhyNone(%v, %v) = %q, want %q", tc.verdicts, tc.had, got, tc.want)
		}
	}
}

// Whatever strangers claim, what is used can carry IPv4 addresses, lies where networks are, touches nothing of ours and is not too much.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(1))
	own := []netip.Prefix{netip.MustParsePrefix("2001:db8:8000::/37"), netip.MustParsePrefix("fd00::/64")}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		heads := []string{"2001:db8:8000::", "2001:db8::", "fd00::", "fe80::", "ff02::", "64:ff9b::", "64:ff9b:1::", "::", "2002::"}
		var claims []Claim
		for range r.IntN(20) {
			b := netip.MustParseAddr(heads[r.IntN(len(heads))]).As16()
			for range r.IntN(4) {
				b[r.IntN(16)] ^= byte(r.Uint32())
			}
			claims = append(claims, Claim{Prefix: netip.PrefixFrom(netip.AddrFrom16(b), r.IntN(130)-1), Source: []Source{RA, DNS, "x"}[r.IntN(3)], Until: r.Int64N(20)})
		}
		verdicts := Judge(Rules{Sources: []Source{RA, DNS}, Own: own}, claims, 10)
		sources := map[Source]bool{}
		used := Prefixes(verdicts)
		for _, v := range verdicts {
			if !v.Used() {
				continue
			}
			sources[v.Source] = true
			if _, err := xlat.NewPref64(v.Prefix); err != nil || v.Until <= 10 || v.Prefix.Overlaps(own[0]) || v.Prefix.Overlaps(own[1]) {
				t.Errorf("%v until %d is used", v.Prefix, v.Until)
			}
			if a := v.Prefix.Addr(); a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsLoopback() || a.IsUnspecified() {
				t.Errorf("%v is used", v.Prefix)
			}
		}
		if len(used) > most || len(sources) > 1 {
			t.Errorf("%d prefixes of %d sources are used", len(used), len(sources))
		}
		r.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
		if d := cmp.Diff(used, Prefixes(Judge(Rules{Sources: []Source{RA, DNS}, Own: own}, claims, 10)), byPrefix); d != "" {
			t.Errorf("another order of the claims uses others:\n%s", d)
		}
	})
}
