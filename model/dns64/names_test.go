package dns64

import (
	"fmt"
	"strings"
	"testing"
)

func TestKnownNames(t *testing.T) {
	const soa = "ipv4only.arpa. 600 SOA"
	for _, tc := range []struct {
		name     string
		prefixes []string
		q        Question
		client   Client
		rcode    uint16
		want     string
		soa      bool
	}{
		{name: "RFC7050_8.2_A", q: Question{Type: TypeA}, want: "ipv4only.arpa. 600 A 192.0.0.170; ipv4only.arpa. 600 A 192.0.0.171"},
		{name: "RFC7050_8.2_A_capable", q: Question{Type: TypeA}, client: Capable, want: "ipv4only.arpa. 600 A 192.0.0.170; ipv4only.arpa. 600 A 192.0.0.171"},
		{name: "RFC7050_3_AAAA", want: "ipv4only.arpa. 600 AAAA 64:ff9b::c000:aa; ipv4only.arpa. 600 AAAA 64:ff9b::c000:ab"},
		{name: "RFC7050_3_AAAA_of_64_bits", prefixes: []string{"2001:db8:1:2::/64"}, want: "ipv4only.arpa. 600 AAAA 2001:db8:1:2:c0:0:aa00:0; ipv4only.arpa. 600 AAAA 2001:db8:1:2:c0:0:ab00:0"},
		{name: "RFC7050_3_every_prefix", prefixes: []string{"64:ff9b::/96", "2001:db8:64::/96=10.0.0.0/8"},
			want: "ipv4only.arpa. 600 AAAA 64:ff9b::c000:aa; ipv4only.arpa. 600 AAAA 64:ff9b::c000:ab; ipv4only.arpa. 600 AAAA 2001:db8:64::c000:aa; ipv4only.arpa. 600 AAAA 2001:db8:64::c000:ab"},
		{name: "RFC8880_7.1_AAAA_capable", client: Capable, soa: true},
		{name: "RFC8880_7.1_other_type", q: Question{Type: 15}, soa: true},
		{name: "RFC8880_7.1_below", q: Question{Name: "a.ipv4only.arpa."}, rcode: NXDomain, soa: true},
		{name: "RFC8880_7.1_DO_CD", q: Question{DO: true, CD: true}, soa: true},
		{name: "RFC8880_7.2_reverse_170", q: Question{Name: "170.0.0.192.in-addr.arpa.", Type: TypePTR}, want: "170.0.0.192.in-addr.arpa. 600 PTR ipv4only.arpa."},
		{name: "RFC8880_7.2_reverse_171", q: Question{Name: "171.0.0.192.in-addr.arpa.", Type: TypePTR}, want: "171.0.0.192.in-addr.arpa. 600 PTR ipv4only.arpa."},
		{name: "RFC8880_7.2_reverse_under_a_prefix", q: Question{Name: reverse6("0064ff9b", "c00000aa"), Type: TypePTR},
			want: reverse6("0064ff9b", "c00000aa") + " 600 CNAME 170.0.0.192.in-addr.arpa.; 170.0.0.192.in-addr.arpa. 600 PTR ipv4only.arpa."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.prefixes == nil {
				tc.prefixes = []string{"64:ff9b::/96"}
			}
			var p Policy
			prefixes(tc.prefixes...)(&p)
			if tc.q.Name == "" {
				tc.q.Name = "ipv4only.arpa."
			}
			step := p.First(defaults(tc.q), tc.client)
			if step.Act != Known || step.Reply.From != FromNobody {
				t.Fatalf("First = %+v, want an answer of our own", step)
			}
			r, wantSOA := step.Reply, ""
			if tc.soa {
				wantSOA = soa
			}
			if got := text(r.Answer); got != tc.want || r.Rcode != tc.rcode || text(r.Authority) != wantSOA {
				t.Errorf("rcode %d, answer %s, authority %s\nwant rcode %d, %s, %s", r.Rcode, got, text(r.Authority), tc.rcode, tc.want, wantSOA)
			}
		})
	}
}

// reverse6 is the ip6.arpa name of an address given as its first nibbles and its last ones.
func reverse6(first, last string) string {
	all := first + strings.Repeat("0", 32-len(first)-len(last)) + last
	var b strings.Builder
	for i := len(all) - 1; i >= 0; i-- {
		b.WriteByte(all[i])
		b.WriteByte('.')
	}
	return b.String() + "ip6.arpa."
}

func TestPTR(t *testing.T) {
	whole := reverse6("0064ff9b", "08000102")
	for _, tc := range []struct {
		name   string
		q      string
		client Client
		act    Act
		then   string
	}{
		{"RFC6147_5.3.1_inside", whole, SixOnly, Map, "2.1.0.8.in-addr.arpa."},
		{"RFC6147_5.3.1_outside", reverse6("20010db8", "08000102"), SixOnly, Pass, ""},
		{"RFC6147_5.3.1_capable_client", whole, Capable, Pass, ""},
		{"RFC6147_5.3.1_private_is_not_carried", reverse6("0064ff9b", "0a000001"), SixOnly, Pass, ""},
		{"RFC3596_2.5_part_of_a_name", whole[2:], SixOnly, Pass, ""},
		{"RFC3596_2.5_too_long", "0." + whole, SixOnly, Pass, ""},
		{"RFC3596_2.5_not_a_nibble", "g" + whole[1:], SixOnly, Pass, ""},
		{"RFC3596_2.5_not_a_dot", whole[:1] + "0" + whole[2:], SixOnly, Pass, ""},
		{"RFC1035_3.5_IPv4", "2.1.0.8.in-addr.arpa.", SixOnly, Pass, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Policy{Prefixes: []Pref64{pref64("64:ff9b::/96")}}
			step := p.First(defaults(Question{Name: tc.q, Type: TypePTR}), tc.client)
			if step.Act != tc.act || step.Then != tc.then {
				t.Errorf("First = %+v, want %v %s", step, tc.act, tc.then)
			}
		})
	}
}

func TestReverse_RFC6147_5_3_1(t *testing.T) {
	q := defaults(Question{Name: reverse6("0064ff9b", "08000102"), Type: TypePTR})
	for _, tc := range []struct {
		a, want string
		rcode   uint16
	}{
		{"2.1.0.8.in-addr.arpa. 90 PTR x.test.", "%s 90 CNAME 2.1.0.8.in-addr.arpa.; 2.1.0.8.in-addr.arpa. 90 PTR x.test.", 0},
		{"NXDOMAIN" + soa30, "%s 600 CNAME 2.1.0.8.in-addr.arpa.", NXDomain},
		{soa30, "%s 600 CNAME 2.1.0.8.in-addr.arpa.", 0},
	} {
		r := (&Policy{}).Reverse(q, "2.1.0.8.in-addr.arpa.", answer(t, tc.a))
		if want := fmt.Sprintf(tc.want, q.Name); text(r.Answer) != want || r.Rcode != tc.rcode || !r.Synthesised || r.From != FromSecond {
			t.Errorf("%s: %d %s, want %d %s", tc.a, r.Rcode, text(r.Answer), tc.rcode, want)
		}
	}
}

func TestWithoutA(t *testing.T) {
	for _, tc := range []struct {
		name, a, want, soa string
		rcode              uint16
		why                Why
	}{
		{"A", "x.test. 60 A 8.0.0.1; x.test. 20 A 8.0.0.2", "", "x.test. 20 SOA", 0, AFiltered},
		{"alias", "x.test. 9 CNAME y.test.; y.test. 20 A 8.0.0.2", "x.test. 9 CNAME y.test.", "y.test. 20 SOA", 0, AFiltered},
		{"no_A", soa30, "", "", 0, OtherType},
		{"NXDOMAIN_stays", "NXDOMAIN" + soa30, "", "", NXDomain, OtherType},
		{"zone_kept", "x.test. 9 CNAME a.cluster.test.; a.cluster.test. 20 A 8.0.0.2", "x.test. 9 CNAME a.cluster.test.; a.cluster.test. 20 A 8.0.0.2", "", 0, OtherType},
		{"loop", "x.test. 9 CNAME x.test.", "", "", ServFail, Looped},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Policy{FilterA: true, Never: []string{"cluster.test."}}
			q := defaults(Question{Type: TypeA})
			if step := p.First(q, SixOnly); step.Act != Filter {
				t.Fatalf("First = %+v", step)
			}
			if step := p.First(q, Capable); step.Act != Pass {
				t.Fatalf("First of a client with IPv4 = %+v", step)
			}
			r := p.WithoutA(q, answer(t, tc.a))
			if text(r.Answer) != tc.want || text(r.Authority) != tc.soa || r.Rcode != tc.rcode || r.Why != tc.why {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A chain as long as is followed, and one longer.
func TestChainLimit(t *testing.T) {
	chain := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s 9 CNAME n%d.test.;", name(i), i+1)
		}
		return b.String() + name(n) + " 9 A 8.0.0.1"
	}
	p := Policy{Prefixes: []Pref64{pref64("64:ff9b::/96")}}
	for n, why := range map[int]Why{maxChain - 1: Synthesised, maxChain: Looped} {
		if r := p.Synthesise(defaults(Question{}), Answer{}, answer(t, chain(n))); r.Why != why {
			t.Errorf("%d aliases: %q, want %q", n, r.Why, why)
		}
	}
}

func name(i int) string {
	if i == 0 {
		return "x.test."
	}
	return fmt.Sprintf("n%d.test.", i)
}
