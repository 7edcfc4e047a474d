package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

// Each server is asked for itself, without what would keep it from synthesising, and says what it says.
func TestDiscover_RFC7050_3(t *testing.T) {
	const key = "ipv4only.arpa. AAAA"
	const soa = " / arpa. 60 SOA ns.test. h.test. 1 2 3 4 60"
	made := "ipv4only.arpa. 300 AAAA 2001:db8:64::c000:aa; ipv4only.arpa. 200 AAAA 2001:db8:64::c000:ab"
	for _, tc := range []struct {
		name, answer string
		want         Discovered
	}{
		{"a DNS64", made, Discovered{Rcode: "NOERROR", Addrs: addrsOf("2001:db8:64::c000:aa", "2001:db8:64::c000:ab"), TTL: 200}},
		{"no DNS64", "NOERROR" + soa, Discovered{Rcode: "NOERROR"}},
		{"no such name", "NXDOMAIN" + soa, Discovered{Rcode: "NXDOMAIN"}},
		{"a server that is out of order", "SERVFAIL", Discovered{Rcode: "SERVFAIL", Failure: "SERVFAIL"}},
		{"an address of another name", made + "; other.test. 1 AAAA 2001:db8::bad", Discovered{Rcode: "NOERROR", Addrs: addrsOf("2001:db8:64::c000:aa", "2001:db8:64::c000:ab"), TTL: 200}},
		{"a record of another type", "ipv4only.arpa. 5 A 192.0.0.170", Discovered{Rcode: "NOERROR"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, map[string]string{key: tc.answer})
			var seen *dns.Msg
			f.mangle = func(q, r *dns.Msg, _ bool) []byte {
				seen = q
				b, err := r.Pack()
				if err != nil {
					t.Error(err)
				}
				return b
			}
			s := run(t, configFor(f))
			got := s.Discover(t.Context(), DiscoverRequest{Name: "ipv4only.arpa."})
			tc.want.Server = Upstream{Addr: f.addr, Via: UDP}.String()
			if d := cmp.Diff([]Discovered{tc.want}, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if opt := seen.IsEdns0(); seen.CheckingDisabled || opt != nil && opt.Do() {
				t.Errorf("asked with CD %v and OPT %v: nobody synthesises for that", seen.CheckingDisabled, opt)
			}
		})
	}
}

// One that is silent takes nothing from the others, and those that are named are asked instead.
func TestDiscoverAsksWhoIsNamed(t *testing.T) {
	const key = "ipv4only.arpa. AAAA"
	silent := newFake(t, map[string]string{key: "silent"})
	good := newFake(t, map[string]string{key: "ipv4only.arpa. 60 AAAA 64:ff9b::c000:aa"})
	ordinary := newFake(t, map[string]string{})
	s := run(t, configFor(ordinary))
	got := s.Discover(t.Context(), DiscoverRequest{Name: "ipv4only.arpa.", Servers: []Upstream{{Addr: silent.addr, Via: UDP}, {Addr: good.addr, Via: TCP}}})
	if len(got) != 2 || got[0].Failure == "" || !strings.Contains(got[0].Failure, errSilent.Error()) || len(got[1].Addrs) != 1 || got[1].Failure != "" {
		t.Errorf("got %+v, want the failure of the silent one and an address of the other", got)
	}
	if q := ordinary.questions(); q != "" {
		t.Errorf("the one for ordinary names was asked %s", q)
	}
}

func addrsOf(text ...string) (out []netip.Addr) {
	for _, s := range text {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
