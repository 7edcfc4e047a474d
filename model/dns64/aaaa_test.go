package dns64

import (
	"net/netip"
	"testing"
)

// aaaaCase is one question for AAAA, from the question to the reply.
type aaaaCase struct {
	name   string
	policy func(*Policy)
	q      Question // the name defaults to x.test., the type to AAAA, the class to IN
	client Client
	aaaa   string // what the question brings; "-" if nobody is to be asked
	a      string // what the question for A brings; "-" if nobody is to be asked
	rcode  uint16
	want   string
	from   Source
	made   bool
	why    Why
}

const soa30 = "/ test. 30 SOA"

// Addresses in 8.0.0.0/8 and 203.0.114.0/24 stand for global ones: the well-known prefix may carry no documentation addresses.
var aaaaCases = []aaaaCase{
	// D1: only AAAA of class IN.
	{name: "RFC6147_5.1_ANY", q: Question{Type: 255}, aaaa: "-", why: OtherType},
	{name: "RFC6147_5.1_A", q: Question{Type: TypeA}, aaaa: "-", why: OtherType},
	{name: "RFC6147_5.1_HTTPS", q: Question{Type: 65}, aaaa: "-", why: OtherType},
	{name: "RFC6147_5.1_SVCB", q: Question{Type: 64}, aaaa: "-", why: OtherType},
	{name: "RFC6147_5.1_MX", q: Question{Type: 15}, aaaa: "-", why: OtherType},
	{name: "RFC6147_5.1_class_CH", q: Question{Class: 3}, aaaa: "-", why: OtherClass},
	{name: "RFC6147_5.1_class_ANY", q: Question{Class: 255}, aaaa: "-", why: OtherClass},

	// D2: no such name.
	{name: "RFC6147_5.1.2_NXDOMAIN_asks_no_A", aaaa: "NXDOMAIN" + soa30, a: "-", rcode: NXDomain, why: NoName},
	{name: "RFC6147_5.1.2_NXDOMAIN_behind_an_alias", aaaa: "NXDOMAIN x.test. 60 CNAME y.test." + soa30, a: "-", rcode: NXDomain,
		want: "x.test. 60 CNAME y.test.", why: NoName},

	// D3: other errors and silence count as no AAAA.
	{name: "RFC6147_5.1.2_SERVFAIL", aaaa: "SERVFAIL", a: "x.test. 300 A 8.0.0.1", want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.2_REFUSED", aaaa: "REFUSED", a: "x.test. 300 A 8.0.0.1", want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.2_NOTIMP", aaaa: "NOTIMP", a: "x.test. 300 A 8.0.0.1", want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.2_FORMERR", aaaa: "FORMERR", a: "x.test. 300 A 8.0.0.1", want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.3_error_has_no_SOA_to_go_by", aaaa: "SERVFAIL" + soa30, a: "x.test. 3600 A 8.0.0.1", want: "x.test. 600 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.2_strict", policy: func(p *Policy) { p.Strict = true }, aaaa: "SERVFAIL", a: "-", rcode: ServFail, why: Failed},
	{name: "RFC6147_5.1.2_strict_NXDOMAIN", policy: func(p *Policy) { p.Strict = true }, aaaa: "NXDOMAIN", a: "-", rcode: NXDomain, why: NoName},

	// D4: exclusions.
	{name: "RFC6147_5.1.4_only_mapped", aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9", a: "x.test. 300 A 8.0.0.1", want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.4_mixed", aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9; x.test. 60 AAAA 2001:db8::1", a: "-", want: "x.test. 60 AAAA 2001:db8::1", made: true, why: Native},
	{name: "RFC6147_5.1.4_mixed_loses_its_signature", aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9; x.test. 60 AAAA 2001:db8::1; x.test. 60 RRSIG AAAA", a: "-", q: Question{DO: true},
		want: "x.test. 60 AAAA 2001:db8::1", made: true, why: Native},
	{name: "RFC6147_5.1.4_mixed_behind_an_alias", aaaa: "x.test. 9 CNAME y.test.; y.test. 60 AAAA ::ffff:8.0.0.9; y.test. 60 AAAA 2001:db8::1", a: "-",
		want: "x.test. 9 CNAME y.test.; y.test. 60 AAAA 2001:db8::1", made: true, why: Native},
	{name: "RFC6147_5.1.4_own_range", policy: exclude("2001:db8:bad::/48"), aaaa: "x.test. 60 AAAA 2001:db8:bad::1", a: "x.test. 300 A 8.0.0.1",
		want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.4_own_range_keeps_mapped_excluded", policy: exclude("2001:db8:bad::/48"), aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9", a: "x.test. 300 A 8.0.0.1",
		want: "x.test. 300 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.4_excluded_has_no_SOA", aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9" + soa30, a: "x.test. 10 A 8.0.0.1", want: "x.test. 10 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.4_excluded_and_no_A", aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9", a: soa30, from: FromSecond, why: NoAddress},
	{name: "RFC6147_5.1.4_excluded_and_A_not_carried", aaaa: "x.test. 60 AAAA ::ffff:8.0.0.9", a: "x.test. 60 A 10.0.0.1", why: NotCarried},

	// D5: aliases.
	{name: "RFC6147_5.1.5_one_alias", aaaa: "x.test. 50 CNAME y.test." + soa30, a: "x.test. 50 CNAME y.test.; y.test. 300 A 8.0.0.1",
		want: "x.test. 50 CNAME y.test.; y.test. 30 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.5_two_aliases", aaaa: "x.test. 50 CNAME y.test.; y.test. 40 CNAME z.test." + soa30, a: "x.test. 50 CNAME y.test.; y.test. 40 CNAME z.test.; z.test. 20 A 8.0.0.1",
		want: "x.test. 50 CNAME y.test.; y.test. 40 CNAME z.test.; z.test. 20 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.5_alias_to_native", aaaa: "x.test. 50 CNAME y.test.; y.test. 60 AAAA 2001:db8::1", a: "-", want: "x.test. 50 CNAME y.test.; y.test. 60 AAAA 2001:db8::1", why: Native},
	{name: "RFC6147_5.1.5_aliases_out_of_order", aaaa: soa30, a: "z.test. 20 A 8.0.0.1; y.test. 40 CNAME z.test.; x.test. 50 CNAME y.test.",
		want: "x.test. 50 CNAME y.test.; y.test. 40 CNAME z.test.; z.test. 20 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6672_3.2_DNAME_with_its_CNAME", q: Question{Name: "a.d.test."}, aaaa: soa30,
		a:    "d.test. 70 DNAME e.test.; a.d.test. 70 CNAME a.e.test.; a.e.test. 20 A 8.0.0.1",
		want: "d.test. 70 DNAME e.test.; a.d.test. 70 CNAME a.e.test.; a.e.test. 20 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6672_3.1_DNAME_alone", q: Question{Name: "a.d.test."}, aaaa: soa30, a: "d.test. 70 DNAME e.test.; a.e.test. 20 A 8.0.0.1",
		want: "d.test. 70 DNAME e.test.; a.d.test. 70 CNAME a.e.test.; a.e.test. 20 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6672_2.2_DNAME_to_the_root", q: Question{Name: "a.b.d.test."}, aaaa: soa30, a: "d.test. 70 DNAME .; a.b. 20 A 8.0.0.1",
		want: "d.test. 70 DNAME .; a.b.d.test. 70 CNAME a.b.; a.b. 20 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6672_2.2_DNAME_not_of_its_own_name", q: Question{Name: "d.test."}, aaaa: soa30, a: "d.test. 70 DNAME e.test.; d.test. 20 A 8.0.0.1",
		want: "d.test. 20 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC1034_3.6.2_loop_of_AAAA", aaaa: "x.test. 9 CNAME y.test.; y.test. 9 CNAME x.test.", a: "-", rcode: ServFail, from: FromNobody, why: Looped},
	{name: "RFC1034_3.6.2_loop_of_A", aaaa: soa30, a: "x.test. 9 CNAME x.test.", rcode: ServFail, from: FromNobody, why: Looped},
	{name: "RFC6672_loop_of_DNAME", q: Question{Name: "a.d.test."}, aaaa: soa30, a: "d.test. 9 DNAME d.d.test.", rcode: ServFail, from: FromNobody, why: Looped},
	{name: "RFC6147_5.5_alias_keeps_its_signature", q: Question{DO: true}, aaaa: soa30,
		a:    "x.test. 50 CNAME y.test.; x.test. 50 RRSIG CNAME; y.test. 300 A 8.0.0.1; y.test. 300 RRSIG A",
		want: "x.test. 50 CNAME y.test.; x.test. 50 RRSIG CNAME; y.test. 30 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "records_of_other_names_are_no_answer", aaaa: soa30, a: "x.test. 60 A 8.0.0.1; evil.test. 60 A 8.0.0.2", want: "x.test. 30 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},

	// D6: the A records are missing or failed.
	{name: "RFC6147_5.1.6_both_empty", aaaa: soa30, a: soa30, from: FromSecond, why: NoAddress},
	{name: "RFC6147_5.1.6_A_SERVFAIL", aaaa: soa30, a: "SERVFAIL", rcode: ServFail, from: FromSecond, why: Failed},
	{name: "RFC6147_5.1.6_A_REFUSED", aaaa: "SERVFAIL", a: "REFUSED", rcode: 5, from: FromSecond, why: Failed},
	{name: "RFC6147_5.1.6_A_NXDOMAIN", aaaa: "SERVFAIL", a: "NXDOMAIN" + soa30, rcode: NXDomain, from: FromSecond, why: NoName},
	{name: "RFC6147_5.1.6_alias_to_nothing", aaaa: "x.test. 50 CNAME y.test." + soa30, a: "x.test. 50 CNAME y.test." + soa30,
		want: "x.test. 50 CNAME y.test.", from: FromSecond, why: NoAddress},

	// D7: times to live.
	{name: "RFC6147_5.1.7_SOA_is_shorter", aaaa: soa30, a: "x.test. 300 A 8.0.0.1", want: "x.test. 30 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.7_A_is_shorter", aaaa: soa30, a: "x.test. 5 A 8.0.0.1", want: "x.test. 5 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.7_no_SOA", a: "x.test. 3600 A 8.0.0.1", want: "x.test. 600 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.7_no_SOA_and_A_is_shorter", a: "x.test. 60 A 8.0.0.1", want: "x.test. 60 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.7_zero", aaaa: soa30, a: "x.test. 0 A 8.0.0.1", want: "x.test. 0 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.1.7_several_A", aaaa: soa30, a: "x.test. 20 A 8.0.0.1; x.test. 40 A 8.0.0.2",
		want: "x.test. 20 AAAA 64:ff9b::800:1; x.test. 30 AAAA 64:ff9b::800:2", made: true, from: FromSecond, why: Synthesised},

	// D8: several prefixes.
	{name: "RFC6147_5.2_two_for_all", policy: prefixes("2001:db8:64::/96", "2001:db8:65::/96"), aaaa: soa30, a: "x.test. 9 A 8.0.0.1",
		want: "x.test. 9 AAAA 2001:db8:64::800:1; x.test. 9 AAAA 2001:db8:65::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.2_by_range", policy: prefixes("64:ff9b::/96", "2001:db8:64::/96=10.0.0.0/8"), aaaa: soa30, a: "x.test. 9 A 8.0.0.1; x.test. 9 A 10.0.0.1",
		want: "x.test. 9 AAAA 64:ff9b::800:1; x.test. 9 AAAA 2001:db8:64::a00:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.2_most_specific_range", policy: prefixes("2001:db8:64::/96=8.0.0.0/8", "2001:db8:65::/96=8.0.0.0/24"), aaaa: soa30, a: "x.test. 9 A 8.0.0.1; x.test. 9 A 8.1.0.1",
		want: "x.test. 9 AAAA 2001:db8:65::800:1; x.test. 9 AAAA 2001:db8:64::801:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.2_range_and_well_known", policy: prefixes("64:ff9b::/96", "2001:db8:64::/96=8.0.0.0/8"), aaaa: soa30, a: "x.test. 9 A 8.0.0.1; x.test. 9 A 203.0.114.1",
		want: "x.test. 9 AAAA 2001:db8:64::800:1; x.test. 9 AAAA 64:ff9b::cb00:7201", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.2_same_A_twice", aaaa: soa30, a: "x.test. 9 A 8.0.0.1; x.test. 9 A 8.0.0.1", want: "x.test. 9 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6052_2.2_of_64_bits", policy: prefixes("2001:db8:122:344::/64"), aaaa: soa30, a: "x.test. 9 A 8.0.2.33", want: "x.test. 9 AAAA 2001:db8:122:344:8:2:2100:0", made: true, from: FromSecond, why: Synthesised},

	// D11: DNSSEC.
	{name: "RFC6147_5.5_DO_CD", q: Question{DO: true, CD: true}, aaaa: "-", why: ClientValidates},
	{name: "RFC6147_5.5_CD_alone", q: Question{CD: true}, aaaa: soa30, a: "x.test. 9 A 8.0.0.1", want: "x.test. 9 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.5_DO_alone", q: Question{DO: true}, aaaa: soa30, a: "x.test. 9 A 8.0.0.1; x.test. 9 RRSIG A", want: "x.test. 9 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6147_5.5_bogus_denial", aaaa: "BOGUS", a: "-", rcode: ServFail, why: BogusData},
	{name: "RFC6147_5.5_bogus_A", aaaa: soa30, a: "BOGUS", rcode: ServFail, from: FromSecond, why: BogusData},
	{name: "RFC6147_5.5_native_keeps_its_signature", q: Question{DO: true}, aaaa: "x.test. 60 AAAA 2001:db8::1; x.test. 60 RRSIG AAAA", a: "-",
		want: "x.test. 60 AAAA 2001:db8::1; x.test. 60 RRSIG AAAA", why: Native},

	// D13: what no prefix may carry.
	{name: "RFC6052_3.1_private", aaaa: soa30, a: "x.test. 9 A 10.0.0.1; x.test. 9 A 172.16.0.1; x.test. 9 A 192.168.0.1", why: NotCarried},
	{name: "RFC6052_3.1_loopback", aaaa: soa30, a: "x.test. 9 A 127.0.0.1", why: NotCarried},
	{name: "RFC6052_3.1_this_network", aaaa: soa30, a: "x.test. 9 A 0.0.0.0", why: NotCarried},
	{name: "RFC6052_3.1_link_local", aaaa: soa30, a: "x.test. 9 A 169.254.169.254", why: NotCarried},
	{name: "RFC6052_3.1_multicast", aaaa: soa30, a: "x.test. 9 A 224.0.0.1", why: NotCarried},
	{name: "RFC6052_3.1_documentation", aaaa: soa30, a: "x.test. 9 A 192.0.2.1", why: NotCarried},
	{name: "RFC6052_3.1_some", aaaa: soa30, a: "x.test. 9 A 10.0.0.1; x.test. 9 A 8.0.0.1", want: "x.test. 9 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "RFC6052_3.1_own_prefix_carries_no_private_unnamed", policy: prefixes("2001:db8:64::/96"), aaaa: soa30, a: "x.test. 9 A 10.0.0.1", why: NotCarried},
	{name: "RFC6052_3.1_own_prefix_named_loopback", policy: prefixes("2001:db8:64::/96=127.0.0.0/8"), aaaa: soa30, a: "x.test. 9 A 127.0.0.1", why: NotCarried},
	{name: "RFC6052_3.1_well_known_named_private", policy: prefixes("64:ff9b::/96=10.0.0.0/8"), aaaa: soa30, a: "x.test. 9 A 10.0.0.1", why: NotCarried},
	{name: "RFC6052_3.1_everything_named_is_not_private_named", policy: prefixes("2001:db8:64::/96=0.0.0.0/0"), aaaa: soa30, a: "x.test. 9 A 10.0.0.1", why: NotCarried},
	{name: "RFC6052_3.1_not_carried_after_an_error", aaaa: "REFUSED", a: "x.test. 9 A 10.0.0.1", rcode: 5, from: FromNobody, why: NotCarried},

	// D16: what is never synthesised.
	{name: "never_real_AAAA_overridden", aaaa: "x.test. 60 AAAA 2001:db8::1", a: "-", want: "x.test. 60 AAAA 2001:db8::1", why: Native},
	{name: "never_zone", policy: never("cluster.test."), q: Question{Name: "a.cluster.test."}, aaaa: "-", why: ZoneKept},
	{name: "never_zone_itself", policy: never("cluster.test."), q: Question{Name: "cluster.test."}, aaaa: "-", why: ZoneKept},
	{name: "never_zone_by_label", policy: never("cluster.test."), q: Question{Name: "mycluster.test."}, aaaa: soa30, a: "mycluster.test. 9 A 8.0.0.1",
		want: "mycluster.test. 9 AAAA 64:ff9b::800:1", made: true, from: FromSecond, why: Synthesised},
	{name: "never_zone_at_the_end_of_an_alias", policy: never("cluster.test."), aaaa: "x.test. 9 CNAME a.cluster.test." + soa30, a: "-", want: "x.test. 9 CNAME a.cluster.test.", why: ZoneKept},
	{name: "never_zone_at_the_end_of_the_alias_of_A", policy: never("cluster.test."), aaaa: soa30, a: "x.test. 9 CNAME a.cluster.test.; a.cluster.test. 9 A 8.0.0.1", why: ZoneKept},
	{name: "never_root", policy: never("."), aaaa: "-", why: ZoneKept},

	// Classes of clients, and no prefix.
	{name: "capable_client", client: Capable, aaaa: "-", why: ClientCapable},
	{name: "no_prefix", policy: func(p *Policy) { p.Prefixes = nil }, aaaa: "-", why: NoPrefix},
}

func exclude(s string) func(*Policy) {
	return func(p *Policy) { p.Exclude = []netip.Prefix{netip.MustParsePrefix(s)} }
}

func never(zone string) func(*Policy) { return func(p *Policy) { p.Never = []string{zone} } }

func prefixes(list ...string) func(*Policy) {
	return func(p *Policy) {
		p.Prefixes = nil
		for _, s := range list {
			p.Prefixes = append(p.Prefixes, pref64(s))
		}
	}
}

func TestAAAA(t *testing.T) {
	for _, tc := range aaaaCases {
		t.Run(tc.name, func(t *testing.T) {
			p := Policy{Prefixes: []Pref64{pref64("64:ff9b::/96")}}
			if tc.policy != nil {
				tc.policy(&p)
			}
			q := defaults(tc.q)
			step := p.First(q, tc.client)
			if tc.aaaa == "-" {
				if step.Act != Pass || step.Why != tc.why {
					t.Errorf("First = %v, %q, want Pass, %q", step.Act, step.Why, tc.why)
				}
				return
			}
			if step.Act != Ask {
				t.Fatalf("First = %v, %q, want Ask", step.Act, step.Why)
			}
			aaaa := answer(t, tc.aaaa)
			r, final := p.AfterAAAA(q, aaaa)
			if final != (tc.a == "-") {
				t.Fatalf("AfterAAAA = %+v, final %v", r, final)
			}
			if !final {
				r = p.Synthesise(q, aaaa, answer(t, tc.a))
			}
			if got := text(r.Answer); got != tc.want || r.Rcode != tc.rcode || r.From != tc.from || r.Synthesised != tc.made || r.Why != tc.why {
				t.Errorf("rcode %d, from %d, synthesised %v, %q: %s\nwant rcode %d, from %d, synthesised %v, %q: %s",
					r.Rcode, r.From, r.Synthesised, r.Why, got, tc.rcode, tc.from, tc.made, tc.why, tc.want)
			}
			for _, x := range r.Answer {
				if x.Type == TypeAAAA && x.Ref == Made && !r.Synthesised {
					t.Errorf("%v was made and the reply does not say so: it could carry AD", x)
				}
			}
		})
	}
}

// defaults fills a question for x.test AAAA IN.
func defaults(q Question) Question {
	if q.Name == "" {
		q.Name = "x.test."
	}
	if q.Type == 0 {
		q.Type = TypeAAAA
	}
	if q.Class == 0 {
		q.Class = ClassIN
	}
	return q
}
