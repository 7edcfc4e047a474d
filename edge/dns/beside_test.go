package dns

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// besides is one case: what the world says, what is asked, and what each server was seen to answer.
type besides struct {
	what    string // in the words of docs/dns64.md
	name    string
	typ     uint16
	opts    string // DO, CD, or plain: without EDNS
	world   string // "TYPE: answer" lines for the name itself, "@ TYPE: answer" for others
	want    string
	unbound string // "": the same as ours
	bind    string
	by      string // of a difference: the paragraph by which ours is right
}

// TestBesideOthers puts ours beside Debian's unbound and bind9, each with its DNS64, in front of one upstream. docs/dns64.md has a row for
// every difference, made of what is here.
func TestBesideOthers(t *testing.T) {
	world := map[string]string{}
	for _, c := range besideCases() {
		for line := range strings.Lines(c.world) {
			key, answer, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if !strings.Contains(key, " ") {
				key = c.name + " " + key
			}
			world[strings.TrimSuffix(key, ":")] = answer
		}
	}
	f := newFake(t, world)
	s := run(t, configFor(f))
	ask := map[string]func(*dns.Msg) *dns.Msg{}
	for _, p := range peers {
		ask[p.name] = p.start(t, f.addr.Port())
	}
	ask["here"] = func(m *dns.Msg) *dns.Msg { return s.exchange("udp", m) }
	doc, err := os.ReadFile("../../docs/dns64.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range besideCases() {
		t.Run(c.what, func(t *testing.T) {
			said := map[string]string{"here": c.want, "unbound": c.unbound, "bind9": c.bind}
			differs := false
			for _, who := range []string{"here", "unbound", "bind9"} {
				want := said[who]
				if want == "" {
					want = c.want
				}
				differs = differs || want != c.want
				if got := told(ask[who](c.question())); got != want {
					t.Errorf("%s\ngot  %s\nwant %s", who, got, want)
				}
				said[who] = want
			}
			if differs != (c.by != "") {
				t.Fatalf("they differ: %v; the paragraph is %q", differs, c.by)
			}
			if row := c.row(said); differs && !strings.Contains(string(doc), row) {
				t.Errorf("docs/dns64.md lacks the row\n%s", row)
			}
		})
	}
}

func (c besides) question() *dns.Msg {
	m := new(dns.Msg).SetQuestion(c.name, c.typ)
	m.SetEdns0(1232, strings.Contains(c.opts, "DO"))
	m.CheckingDisabled = strings.Contains(c.opts, "CD")
	if strings.Contains(c.opts, "plain") {
		m.Extra = nil
	}
	return m
}

// row is the difference as docs/dns64.md shows it.
func (c besides) row(said map[string]string) string {
	cell := func(s string) string {
		s = strings.ReplaceAll(strings.ReplaceAll(s, " IN ", " "), c.name+" ", "")
		s = strings.TrimPrefix(s, "NOERROR | ")
		return "`" + strings.ReplaceAll(s, " | ", ", ") + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |", c.what, cell(said["here"]), cell(said["unbound"]), cell(said["bind9"]), c.by)
}

// besideCases are what the three are asked.
func besideCases() []besides {
	const (
		ok    = "NOERROR | "
		synth = "AAAA 64:ff9b::800:1"
		none  = "AAAA: " + soa30 + "\n"
	)
	a := func(address string) string { return none + "A: @ 30 A " + address }
	at := func(c besides) besides { c.world = strings.ReplaceAll(c.world, "@ ", c.name+" "); return c }
	list := []besides{
		{what: "IPv4 alone", name: "plain.test.", typ: dns.TypeAAAA, world: a("8.0.0.1"), want: ok + "plain.test. 30 IN " + synth},
		{what: "A for 300 s, the word that there is no AAAA for 30 s", name: "ttl.test.", typ: dns.TypeAAAA, world: none + "A: @ 300 A 8.0.0.1",
			want: ok + "ttl.test. 30 IN " + synth, unbound: ok + "ttl.test. 300 IN " + synth, by: "RFC 6147 5.1.7: the shorter of both"},
		{what: "no SOA, A for 3600 s", name: "nosoa.test.", typ: dns.TypeAAAA, world: "AAAA: \nA: @ 3600 A 8.0.0.1",
			want: ok + "nosoa.test. 600 IN " + synth, unbound: ok + "nosoa.test. 3600 IN " + synth, by: "RFC 6147 5.1.7: 600 s without a SOA"},
		{what: "AAAA of its own", name: "six.test.", typ: dns.TypeAAAA, world: "AAAA: @ 60 AAAA 2001:db8::1\nA: @ 60 A 8.0.0.1", want: ok + "six.test. 60 IN AAAA 2001:db8::1"},
		{what: "the A record itself", name: "four.test.", typ: dns.TypeA, world: a("8.0.0.1"), want: ok + "four.test. 30 IN A 8.0.0.1"},
		{what: "IPv4-mapped AAAA alone", name: "mapped.test.", typ: dns.TypeAAAA, world: "AAAA: @ 60 AAAA ::ffff:8.0.0.9\nA: @ 60 A 8.0.0.9",
			want: ok + "mapped.test. 60 IN AAAA 64:ff9b::800:9", unbound: ok + "mapped.test. 60 IN AAAA ::ffff:8.0.0.9", by: "RFC 6147 5.1.4: `::ffff:0:0/96` counts as absent"},
		{what: "IPv4-mapped AAAA among others", name: "mixed.test.", typ: dns.TypeAAAA, world: "AAAA: @ 60 AAAA ::ffff:8.0.0.9; @ 60 AAAA 2001:db8::1\nA: " + soa30,
			want: ok + "mixed.test. 60 IN AAAA 2001:db8::1", unbound: ok + "mixed.test. 60 IN AAAA 2001:db8::1 | mixed.test. 60 IN AAAA ::ffff:8.0.0.9", by: "RFC 6147 5.1.4: excluded ones are left out"},
		{what: "AAAA fails with SERVFAIL", name: "servfail.test.", typ: dns.TypeAAAA, world: "AAAA: SERVFAIL\nA: @ 60 A 8.0.0.1",
			want: ok + "servfail.test. 60 IN " + synth, bind: "SERVFAIL", by: "RFC 6147 5.1.2: as if there were no AAAA"},
		{what: "AAAA fails with REFUSED", name: "refused.test.", typ: dns.TypeAAAA, world: "AAAA: REFUSED\nA: @ 60 A 8.0.0.1",
			want: ok + "refused.test. 60 IN " + synth, bind: "SERVFAIL", by: "RFC 6147 5.1.2: as if there were no AAAA"},
		{what: "AAAA fails with NOTIMP", name: "notimp.test.", typ: dns.TypeAAAA, world: "AAAA: NOTIMP\nA: @ 60 A 8.0.0.1",
			want: ok + "notimp.test. 60 IN " + synth, bind: "SERVFAIL", by: "RFC 6147 5.1.2: as if there were no AAAA"},
		{what: "no AAAA, A fails", name: "afails.test.", typ: dns.TypeAAAA, world: none + "A: SERVFAIL", want: "SERVFAIL", unbound: "NOERROR", by: "RFC 6147 5.1.6: the answer for A is the base"},
		{what: "both fail", name: "bothfail.test.", typ: dns.TypeAAAA, world: "AAAA: SERVFAIL\nA: SERVFAIL", want: "SERVFAIL"},
		{what: "neither AAAA nor A", name: "none.test.", typ: dns.TypeAAAA, world: none + "A: " + soa30, want: "NOERROR"},
		{what: "no such name", name: "nothere.test.", typ: dns.TypeAAAA, want: "NXDOMAIN"},
		{what: "no such name, A", name: "nothere.test.", typ: dns.TypeA, want: "NXDOMAIN"},
		{what: "an alias of a name with IPv4 alone", name: "alias.test.", typ: dns.TypeAAAA, world: "AAAA: @ 60 CNAME end.test. " + soa30 + "\nA: @ 60 CNAME end.test.; end.test. 30 A 8.0.0.1\n" +
			"end.test. AAAA: " + soa30 + "\nend.test. A: end.test. 30 A 8.0.0.1", want: ok + "alias.test. 60 IN CNAME end.test. | end.test. 30 IN " + synth},
		{what: "two aliases", name: "far.test.", typ: dns.TypeAAAA, world: "AAAA: @ 60 CNAME near.test.; near.test. 60 CNAME end.test. " + soa30 +
			"\nA: @ 60 CNAME near.test.; near.test. 60 CNAME end.test.; end.test. 30 A 8.0.0.1\nnear.test. AAAA: near.test. 60 CNAME end.test. " + soa30 + "\nnear.test. A: near.test. 60 CNAME end.test.; end.test. 30 A 8.0.0.1",
			want: ok + "end.test. 30 IN " + synth + " | far.test. 60 IN CNAME near.test. | near.test. 60 IN CNAME end.test."},
		{what: "an alias of a name with AAAA", name: "toSix.test.", typ: dns.TypeAAAA, world: "tosix.test. AAAA: tosix.test. 60 CNAME six.test.; six.test. 60 AAAA 2001:db8::1", want: ok + "six.test. 60 IN AAAA 2001:db8::1 | tosix.test. 60 IN CNAME six.test."},
		{what: "an alias of no name", name: "dead.test.", typ: dns.TypeAAAA, world: "AAAA: NXDOMAIN @ 60 CNAME no.test. " + soa30 + "\nA: NXDOMAIN @ 60 CNAME no.test. " + soa30, want: "NXDOMAIN | dead.test. 60 IN CNAME no.test."},
		{what: "a DNAME", name: "a.dn.test.", typ: dns.TypeAAAA, world: "AAAA: dn.test. 60 DNAME dt.test.; a.dn.test. 60 CNAME a.dt.test. " + soa30 +
			"\nA: dn.test. 60 DNAME dt.test.; a.dn.test. 60 CNAME a.dt.test.; a.dt.test. 30 A 8.0.0.1\na.dt.test. AAAA: " + soa30 + "\na.dt.test. A: a.dt.test. 30 A 8.0.0.1",
			want: ok + "a.dn.test. 60 IN CNAME a.dt.test. | a.dt.test. 30 IN " + synth + " | dn.test. 60 IN DNAME dt.test."},
		{what: "DO and CD", name: "docd.test.", typ: dns.TypeAAAA, opts: "DO CD", world: a("8.0.0.1"), want: "NOERROR", bind: ok + "docd.test. 30 IN " + synth,
			by: "RFC 6147 5.5: the client validates and synthesises by itself; bind9 heeds it in signed zones alone"},
		{what: "DO alone", name: "do.test.", typ: dns.TypeAAAA, opts: "DO", world: a("8.0.0.1"), want: ok + "do.test. 30 IN " + synth},
		{what: "CD alone", name: "cd.test.", typ: dns.TypeAAAA, opts: "CD", world: a("8.0.0.1"), want: ok + "cd.test. 30 IN " + synth, unbound: "NOERROR", by: "RFC 6147 5.5: it speaks of DO and CD together"},
		{what: "A is private", name: "private.test.", typ: dns.TypeAAAA, world: a("10.0.0.1"), want: "NOERROR", unbound: ok + "private.test. 30 IN AAAA 64:ff9b::a00:1", bind: ok + "private.test. 30 IN AAAA 64:ff9b::a00:1",
			by: "RFC 6052 3.1: `64:ff9b::/96` carries global addresses alone"},
		{what: "A is a loopback", name: "loopback.test.", typ: dns.TypeAAAA, world: a("127.0.0.1"), want: "NOERROR", unbound: ok + "loopback.test. 30 IN AAAA 64:ff9b::7f00:1", bind: ok + "loopback.test. 30 IN AAAA 64:ff9b::7f00:1", by: "RFC 6052 3.1"},
		{what: "A is of a link", name: "metadata.test.", typ: dns.TypeAAAA, world: a("169.254.169.254"), want: "NOERROR", unbound: ok + "metadata.test. 30 IN AAAA 64:ff9b::a9fe:a9fe", bind: ok + "metadata.test. 30 IN AAAA 64:ff9b::a9fe:a9fe", by: "RFC 6052 3.1"},
		{what: "A is 0.0.0.0", name: "zero.test.", typ: dns.TypeAAAA, world: a("0.0.0.0"), want: "NOERROR", unbound: ok + "zero.test. 30 IN AAAA 64:ff9b::", bind: ok + "zero.test. 30 IN AAAA 64:ff9b::", by: "RFC 6052 3.1"},
		{what: "A is multicast", name: "group.test.", typ: dns.TypeAAAA, world: a("224.0.0.1"), want: "NOERROR", unbound: ok + "group.test. 30 IN AAAA 64:ff9b::e000:1", bind: ok + "group.test. 30 IN AAAA 64:ff9b::e000:1", by: "RFC 6052 3.1"},
		{what: "PTR of an address in the prefix", name: reverse, typ: dns.TypePTR, world: "1.0.0.8.in-addr.arpa. PTR: 1.0.0.8.in-addr.arpa. 60 PTR plain.test.",
			want:    ok + reverse + " 60 IN CNAME 1.0.0.8.in-addr.arpa. | 1.0.0.8.in-addr.arpa. 60 IN PTR plain.test.",
			unbound: ok + reverse + " 60 IN PTR plain.test.", bind: ok + reverse + " 600 IN CNAME 1.0.0.8.in-addr.arpa. | 1.0.0.8.in-addr.arpa. 60 IN PTR plain.test.", by: "RFC 6147 5.3.1: both ways are right"},
		{what: "ipv4only.arpa, AAAA, the upstream knows it not", name: "ipv4only.arpa.", typ: dns.TypeAAAA, want: ok + "ipv4only.arpa. 600 IN AAAA 64:ff9b::c000:aa | ipv4only.arpa. 600 IN AAAA 64:ff9b::c000:ab", unbound: "NXDOMAIN", bind: "NXDOMAIN", by: "RFC 8880 7.1: nobody is asked"},
		{what: "ipv4only.arpa, A, the upstream knows it not", name: "ipv4only.arpa.", typ: dns.TypeA, want: ok + "ipv4only.arpa. 600 IN A 192.0.0.170 | ipv4only.arpa. 600 IN A 192.0.0.171", unbound: "NXDOMAIN", bind: "NXDOMAIN", by: "RFC 8880 7.1: nobody is asked"},
		{what: "MX", name: "mx.test.", typ: dns.TypeMX, world: "MX: @ 60 MX 10 four.test.", want: ok + "mx.test. 60 IN MX 10 four.test."},
		{what: "HTTPS with an IPv4 hint", name: "https.test.", typ: dns.TypeHTTPS, world: "HTTPS: @ 60 HTTPS 1 . ipv4hint=8.0.0.1", want: ok + `https.test. 60 IN HTTPS 1 . ipv4hint="8.0.0.1"`},
		{what: "TXT", name: "txt.test.", typ: dns.TypeTXT, world: "TXT: @ 60 TXT hello", want: ok + `txt.test. 60 IN TXT "hello"`},
		{what: "SRV", name: "srv.test.", typ: dns.TypeSRV, world: "SRV: @ 60 SRV 0 0 1 four.test.", want: ok + "srv.test. 60 IN SRV 0 0 1 four.test."},
		{what: "ANY", name: "any.test.", typ: dns.TypeANY, world: a("8.0.0.1") + "\nANY: @ 60 A 8.0.0.1", want: ok + "any.test. 60 IN A 8.0.0.1"},
		{what: "two A records", name: "two.test.", typ: dns.TypeAAAA, world: none + "A: @ 30 A 8.0.0.1; @ 30 A 8.0.0.2", want: ok + "two.test. 30 IN AAAA 64:ff9b::800:1 | two.test. 30 IN AAAA 64:ff9b::800:2"},
		{what: "mixed case", name: "CaSe.TeSt.", typ: dns.TypeAAAA, world: "case.test. AAAA: " + soa30 + "\ncase.test. A: case.test. 30 A 8.0.0.1", want: ok + "case.test. 30 IN " + synth},
		{what: "A lives for no time", name: "now.test.", typ: dns.TypeAAAA, world: none + "A: @ 0 A 8.0.0.1", want: ok + "now.test. 0 IN " + synth},
		{what: "forty addresses, no EDNS", name: "many.test.", typ: dns.TypeAAAA, opts: "plain", world: none + "A: " + manyA(), want: "NOERROR | TC | 0 records", bind: "NOERROR | TC | 17 records", by: "RFC 2181 9: a client throws away what came with TC"},
	}
	for i := range list {
		list[i] = at(list[i])
	}
	return list
}

// manyA is forty addresses, which do not fit into 512 octets as AAAA records.
func manyA() string {
	var list []string
	for i := range 40 {
		list = append(list, fmt.Sprintf("many.test. 60 A 8.0.1.%d", i))
	}
	return strings.Join(list, "; ")
}
