package dns

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const soa30 = "/ test. 30 SOA ns.test. h.test. 1 2 3 4 30"

// What clients see, over the whole way: an upstream, the server, a client. The rules themselves are tested in model/dns64.
func TestAnswers(t *testing.T) {
	f := newFake(t, map[string]string{
		"four.test. AAAA": soa30, "four.test. A": "four.test. 300 A 8.0.0.1",
		"six.test. AAAA": "six.test. 60 AAAA 2001:db8::1",
		"nosoa.test. A":  "nosoa.test. 3600 A 8.0.0.1", "nosoa.test. AAAA": "",
		"mapped.test. AAAA": "mapped.test. 60 AAAA ::ffff:8.0.0.9", "mapped.test. A": "mapped.test. 60 A 8.0.0.9",
		"mixed.test. AAAA":  "mixed.test. 60 AAAA ::ffff:8.0.0.9; mixed.test. 60 AAAA 2001:db8::1",
		"broken.test. AAAA": "SERVFAIL", "broken.test. A": "broken.test. 60 A 8.0.0.1",
		"refused.test. AAAA": "REFUSED", "refused.test. A": "refused.test. 60 A 8.0.0.1",
		"notimp.test. AAAA": "NOTIMP", "notimp.test. A": "notimp.test. 60 A 8.0.0.1",
		"afails.test. AAAA": soa30, "afails.test. A": "SERVFAIL",
		"none.test. AAAA": soa30, "none.test. A": soa30,
		"alias.test. AAAA": "alias.test. 60 CNAME four.test. " + soa30, "alias.test. A": "alias.test. 60 CNAME four.test.; four.test. 300 A 8.0.0.1",
		"deadalias.test. AAAA": "NXDOMAIN deadalias.test. 60 CNAME no.test. " + soa30,
		"a.dn.test. AAAA":      "dn.test. 60 DNAME dt.test.; a.dn.test. 60 CNAME a.dt.test. " + soa30,
		"a.dn.test. A":         "dn.test. 60 DNAME dt.test.; a.dn.test. 60 CNAME a.dt.test.; a.dt.test. 60 A 8.0.0.1",
		"private.test. AAAA":   soa30, "private.test. A": "private.test. 60 A 10.0.0.1",
		"loop.test. AAAA": "loop.test. 60 CNAME loop2.test.; loop2.test. 60 CNAME loop.test.",
		"four.test. MX":   "four.test. 60 MX 10 mx.test.", "four.test. HTTPS": `four.test. 60 HTTPS 1 . ipv4hint=8.0.0.1`,
		"four.test. ANY":              "four.test. 300 A 8.0.0.1",
		"bogus.test. AAAA":            "BOGUS",
		"boga.test. AAAA":             soa30,
		"boga.test. A":                "BOGUS",
		"1.0.0.8.in-addr.arpa. PTR":   "1.0.0.8.in-addr.arpa. 60 PTR four.test.",
		"a.svc.cluster.test. AAAA":    soa30,
		"a.svc.cluster.test. A":       "a.svc.cluster.test. 5 A 8.0.0.1",
		"evil.test. AAAA":             soa30,
		"evil.test. A":                "evil.test. 60 A 8.0.0.1; bank.test. 60 A 8.0.0.66",
		"lame.test. AAAA":             "/ test. 60 NS ns.test.",
		"lame.test. A":                "/ test. 60 NS ns.test.",
		`esc\.aped\ .test. AAAA`:      soa30,
		`esc\.aped\ .test. A`:         `esc\.aped\032.test. 60 A 8.0.0.1`,
		"ns.cluster.test. AAAA":       soa30,
		"toinside.test. AAAA":         "toinside.test. 5 CNAME a.svc.cluster.test. " + soa30,
		"toinside.test. A":            "toinside.test. 5 CNAME a.svc.cluster.test.; a.svc.cluster.test. 5 A 8.0.0.1",
		"long." + longName + " AAAA":  soa30,
		"long." + longName + " A":     "long." + longName + " 60 A 8.0.0.1",
		"cname.test. CNAME":           "cname.test. 60 CNAME four.test.",
		"wrongclass.test. AAAA":       soa30,
		"wrongclass.test. A":          "wrongclass.test. 60 CH A 8.0.0.1; wrongclass.test. 60 A 8.0.0.2",
		"everything.test. ANY":        "everything.test. 60 A 8.0.0.1; everything.test. 60 TXT hello",
		"zero.test. AAAA":             soa30,
		"zero.test. A":                "zero.test. 0 A 8.0.0.1",
		"_dns.resolver.arpa. SVCB":    "/ resolver.arpa. 30 SOA ns.test. h.test. 1 2 3 4 30",
		"dup.test. AAAA":              soa30,
		"dup.test. A":                 "dup.test. 60 A 8.0.0.1; dup.test. 60 A 8.0.0.1",
		"strange.test. AAAA":          "NOTAUTH",
		"strange.test. A":             "strange.test. 60 A 8.0.0.1",
		"chain16.test. AAAA":          soa30,
		"chain16.test. A":             chain(16),
		"chain15.test. AAAA":          soa30,
		"chain15.test. A":             chain(15),
		"shortsoa.test. AAAA":         "/ test. 300 SOA ns.test. h.test. 1 2 3 4 7",
		"shortsoa.test. A":            "shortsoa.test. 60 A 8.0.0.1",
		"txt.test. TXT":               "txt.test. 60 TXT hello",
		"8.8.8.8.in-addr.arpa. PTR":   "8.8.8.8.in-addr.arpa. 60 PTR eight.test.",
		"deep.alias.test. AAAA":       "deep.alias.test. 60 CNAME x.other.; x.other. 60 AAAA 2001:db8::7",
		"unrelated-soa.test. AAAA":    "/ else. 5 SOA ns.else. h.else. 1 2 3 4 5",
		"unrelated-soa.test. A":       "unrelated-soa.test. 60 A 8.0.0.1",
		"afiltered.cluster.test. A":   "afiltered.cluster.test. 60 A 8.0.0.1",
		"169-254.test. AAAA":          soa30,
		"169-254.test. A":             "169-254.test. 60 A 169.254.169.254",
		"two.test. AAAA":              soa30,
		"two.test. A":                 "two.test. 60 A 8.0.0.1; two.test. 90 A 8.0.0.2",
		"onlycname.test. AAAA":        "onlycname.test. 60 CNAME target.test.",
		"onlycname.test. A":           "onlycname.test. 60 CNAME target.test.",
		"srv.test. SRV":               "srv.test. 60 SRV 0 0 1 four.test.",
		"sixplusa.test. AAAA":         "sixplusa.test. 60 AAAA 2001:db8::1; sixplusa.test. 60 A 8.0.0.1",
		"refusedboth.test. AAAA":      "REFUSED",
		"refusedboth.test. A":         "REFUSED",
		"nxa.test. AAAA":              "SERVFAIL",
		"nxa.test. A":                 "NXDOMAIN" + soa30,
		"emptynoerrornosoa.test. A":   "",
		"emptynoerrornosoa.test. TXT": "",
	})
	c := configFor(f)
	c.Policy.Never = []string{"cluster.test."}
	s := run(t, c)
	const synth = " AAAA 64:ff9b::800:1"
	for _, tc := range []struct {
		name string
		typ  uint16
		want string
		opts string
	}{
		{"four.test.", dns.TypeAAAA, "four.test. 30 IN" + synth, ""},
		{"four.test.", dns.TypeA, "four.test. 300 IN A 8.0.0.1", ""},
		{"four.test.", dns.TypeMX, "four.test. 60 IN MX 10 mx.test.", ""},
		{"four.test.", dns.TypeHTTPS, `four.test. 60 IN HTTPS 1 . ipv4hint="8.0.0.1"`, ""},
		{"four.test.", dns.TypeANY, "four.test. 300 IN A 8.0.0.1", ""},
		{"four.test.", dns.TypeAAAA, "NOERROR", "DO CD"},
		{"four.test.", dns.TypeAAAA, "four.test. 30 IN" + synth, "CD"},
		{"four.test.", dns.TypeAAAA, "four.test. 30 IN" + synth, "DO"},
		{"six.test.", dns.TypeAAAA, "six.test. 60 IN AAAA 2001:db8::1", ""},
		{"nosoa.test.", dns.TypeAAAA, "nosoa.test. 600 IN" + synth, ""},
		{"mapped.test.", dns.TypeAAAA, "mapped.test. 60 IN AAAA 64:ff9b::800:9", ""},
		{"mixed.test.", dns.TypeAAAA, "mixed.test. 60 IN AAAA 2001:db8::1", ""},
		{"broken.test.", dns.TypeAAAA, "broken.test. 60 IN" + synth, ""},
		{"refused.test.", dns.TypeAAAA, "refused.test. 60 IN" + synth, ""},
		{"notimp.test.", dns.TypeAAAA, "notimp.test. 60 IN" + synth, ""},
		{"strange.test.", dns.TypeAAAA, "strange.test. 60 IN" + synth, ""},
		{"afails.test.", dns.TypeAAAA, "SERVFAIL", ""},
		{"refusedboth.test.", dns.TypeAAAA, "REFUSED", ""},
		{"nxa.test.", dns.TypeAAAA, "NXDOMAIN", ""},
		{"none.test.", dns.TypeAAAA, "NOERROR", ""},
		{"nothere.test.", dns.TypeAAAA, "NXDOMAIN", ""},
		{"alias.test.", dns.TypeAAAA, "alias.test. 60 IN CNAME four.test.; four.test. 30 IN" + synth, ""},
		{"deadalias.test.", dns.TypeAAAA, "NXDOMAIN deadalias.test. 60 IN CNAME no.test.", ""},
		{"onlycname.test.", dns.TypeAAAA, "onlycname.test. 60 IN CNAME target.test.", ""},
		{"deep.alias.test.", dns.TypeAAAA, "deep.alias.test. 60 IN CNAME x.other.; x.other. 60 IN AAAA 2001:db8::7", ""},
		{"a.dn.test.", dns.TypeAAAA, "dn.test. 60 IN DNAME dt.test.; a.dn.test. 60 IN CNAME a.dt.test.; a.dt.test. 30 IN" + synth, ""},
		{"private.test.", dns.TypeAAAA, "NOERROR", ""},
		{"169-254.test.", dns.TypeAAAA, "NOERROR", ""},
		{"loop.test.", dns.TypeAAAA, "SERVFAIL", ""},
		{"chain15.test.", dns.TypeAAAA, chain15AAAA(), ""},
		{"chain16.test.", dns.TypeAAAA, "SERVFAIL", ""},
		{"bogus.test.", dns.TypeAAAA, "SERVFAIL", ""},
		{"boga.test.", dns.TypeAAAA, "SERVFAIL", ""},
		{"evil.test.", dns.TypeAAAA, "evil.test. 30 IN" + synth, ""},
		{"evil.test.", dns.TypeA, "evil.test. 60 IN A 8.0.0.1", ""},
		{"sixplusa.test.", dns.TypeAAAA, "sixplusa.test. 60 IN AAAA 2001:db8::1", ""},
		{"wrongclass.test.", dns.TypeAAAA, "wrongclass.test. 30 IN AAAA 64:ff9b::800:2", ""},
		{"lame.test.", dns.TypeAAAA, "NOERROR", ""},
		{"two.test.", dns.TypeAAAA, "two.test. 30 IN AAAA 64:ff9b::800:1; two.test. 30 IN AAAA 64:ff9b::800:2", ""},
		{"dup.test.", dns.TypeAAAA, "dup.test. 30 IN" + synth, ""},
		{"zero.test.", dns.TypeAAAA, "zero.test. 0 IN" + synth, ""},
		{"shortsoa.test.", dns.TypeAAAA, "shortsoa.test. 60 IN" + synth, ""}, // RFC 6147 5.1.7: the SOA's own time, which is 300
		{"unrelated-soa.test.", dns.TypeAAAA, "unrelated-soa.test. 60 IN" + synth, ""},
		{`esc\.aped\032.test.`, dns.TypeAAAA, `esc\.aped\ .test. 30 IN` + synth, ""},
		{"a.svc.cluster.test.", dns.TypeAAAA, "NOERROR", ""},
		{"toinside.test.", dns.TypeAAAA, "toinside.test. 5 IN CNAME a.svc.cluster.test.", ""},
		{"cname.test.", dns.TypeCNAME, "cname.test. 60 IN CNAME four.test.", ""},
		{"everything.test.", dns.TypeANY, `everything.test. 60 IN A 8.0.0.1; everything.test. 60 IN TXT "hello"`, ""},
		{"txt.test.", dns.TypeTXT, `txt.test. 60 IN TXT "hello"`, ""},
		{"srv.test.", dns.TypeSRV, "srv.test. 60 IN SRV 0 0 1 four.test.", ""},
		{"long." + longName, dns.TypeAAAA, "long." + longName + " 30 IN" + synth, ""},
		{reverse, dns.TypePTR, reverse + " 60 IN CNAME 1.0.0.8.in-addr.arpa.; 1.0.0.8.in-addr.arpa. 60 IN PTR four.test.", ""},
		{"8.8.8.8.in-addr.arpa.", dns.TypePTR, "8.8.8.8.in-addr.arpa. 60 IN PTR eight.test.", ""},
		{"ipv4only.arpa.", dns.TypeAAAA, "ipv4only.arpa. 600 IN AAAA 64:ff9b::c000:aa; ipv4only.arpa. 600 IN AAAA 64:ff9b::c000:ab", ""},
		{"ipv4only.arpa.", dns.TypeA, "ipv4only.arpa. 600 IN A 192.0.0.170; ipv4only.arpa. 600 IN A 192.0.0.171", ""},
		{"x.ipv4only.arpa.", dns.TypeAAAA, "NXDOMAIN", ""},
		{"emptynoerrornosoa.test.", dns.TypeTXT, "NOERROR", ""},
	} {
		for _, pass := range []string{"made", "remembered"} {
			t.Run(fmt.Sprintf("%.30s %s %s %s", tc.name, dns.TypeToString[tc.typ], tc.opts, pass), func(t *testing.T) {
				r := *s
				r.t = t
				got := r.ask(tc.name, tc.typ, strings.Fields(tc.opts)...)
				if shown(got) != tc.want {
					t.Errorf("got %s\nwant %s", shown(got), tc.want)
				}
				if !got.Response || !got.RecursionAvailable || got.AuthenticatedData || got.Authoritative {
					t.Errorf("flags of %s", got)
				}
			})
		}
	}
	if q := f.questions(); strings.Contains(q, "ipv4only") {
		t.Errorf("RFC 8880 7.1: somebody was asked for ipv4only.arpa: %s", q)
	}
}

const (
	reverse  = "1.0.0.0.0.0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."
	label50  = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwx."
	longName = label50 + label50 + label50 + label50 + "test."
)

// chain is the answer for a name that ends in A after n aliases.
func chain(n int) string {
	var b strings.Builder
	at := fmt.Sprintf("chain%d.test.", n)
	for i := range n {
		next := fmt.Sprintf("c%d.test.", i)
		fmt.Fprintf(&b, "%s 60 CNAME %s; ", at, next)
		at = next
	}
	return b.String() + at + " 60 A 8.0.0.1"
}

func chain15AAAA() string {
	s := strings.ReplaceAll(chain(15), " 60 ", " 60 IN ")
	return strings.Replace(s, "60 IN A 8.0.0.1", "30 IN AAAA 64:ff9b::800:1", 1)
}
