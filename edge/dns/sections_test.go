package dns

import (
	"testing"

	"github.com/miekg/dns"
)

// What comes beside the A records comes beside what was made of them; their signatures do not (RFC 6147 5.5).
func TestSections_RFC6147_5_3_2(t *testing.T) {
	f := newFake(t, map[string]string{"x.test. AAAA": soa30})
	f.mangle = func(q, r *dns.Msg, _ bool) []byte {
		if r.Question[0].Qtype == dns.TypeA {
			r.Rcode = dns.RcodeSuccess
			r.Answer = rrs(t, "x.test. 60 A 8.0.0.1; x.test. 60 RRSIG A 8 2 60 20300101000000 20200101000000 1 test. AAAA")
			r.Ns, r.Extra = nil, append(rrs(t, "beside.test. 60 A 8.0.0.7"), r.Extra...)
		}
		b, err := r.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	s := run(t, configFor(f))
	for _, pass := range []string{"made", "remembered"} {
		got := s.ask("x.test.", dns.TypeAAAA, "DO")
		if want := "x.test. 30 IN AAAA 64:ff9b::800:1"; shown(got) != want {
			t.Errorf("%s: %s, want %s", pass, shown(got), want)
		}
		beside := 0
		for _, rr := range got.Extra {
			if a, ok := rr.(*dns.A); ok && a.Hdr.Name == "beside.test." {
				beside++
			}
		}
		if beside != 1 || len(got.Ns) != 0 {
			t.Errorf("%s: sections %s", pass, got)
		}
	}
}

// A records are kept from clients that cannot use them: no records, a SOA to remember that by, and the reason (RFC 8914 4.18).
func TestFiltered_RFC8914_4_18(t *testing.T) {
	f := newFake(t, map[string]string{"x.test. A": "x.test. 60 A 8.0.0.1"})
	c := configFor(f)
	c.Policy.FilterA = true
	s := run(t, c)
	for _, pass := range []string{"made", "remembered"} {
		got := s.ask("x.test.", dns.TypeA)
		code, ok := extended(got)
		if shown(got) != "NOERROR" || len(got.Ns) != 1 || got.Ns[0].Header().Rrtype != dns.TypeSOA || !ok || code != dns.ExtendedErrorCodeFiltered {
			t.Errorf("%s: %s", pass, got)
		}
	}
}

// Neither AAAA nor A: the answer for A is the base (RFC 6147 5.1.6), and one SOA says how long that holds (RFC 2308 5).
func TestOneSOA_RFC6147_5_1_6(t *testing.T) {
	f := newFake(t, map[string]string{"x.test. AAAA": soa30, "x.test. A": soa30})
	s := run(t, configFor(f))
	for _, pass := range []string{"made", "remembered"} {
		got := s.ask("x.test.", dns.TypeAAAA)
		if shown(got) != "NOERROR" || len(got.Ns) != 1 || got.Ns[0].Header().Rrtype != dns.TypeSOA {
			t.Errorf("%s: %s", pass, got)
		}
	}
}
