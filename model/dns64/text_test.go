package dns64

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

var types = map[string]uint16{"A": TypeA, "CNAME": TypeCNAME, "SOA": TypeSOA, "PTR": TypePTR, "AAAA": TypeAAAA, "DNAME": TypeDNAME,
	"RRSIG": TypeRRSIG, "ANY": 255, "HTTPS": 65, "SVCB": 64, "TXT": 16, "MX": 15, "NS": 2}

func typeName(typ uint16) string {
	for name, t := range types {
		if t == typ {
			return name
		}
	}
	return strconv.Itoa(int(typ))
}

// records reads lines like "x. 300 A 192.0.2.1", separated by semicolons. An RRSIG's data is the type it covers.
func records(t *testing.T, text string) (list []Record) {
	t.Helper()
	for _, line := range strings.Split(text, ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 3 {
			t.Fatalf("record %q", line)
		}
		ttl, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		r := Record{Name: f[0], TTL: uint32(ttl), Type: types[f[2]], Ref: len(list)}
		switch f[2] {
		case "A", "AAAA":
			r.Addr = netip.MustParseAddr(f[3])
		case "CNAME", "DNAME", "PTR":
			r.Target = f[3]
		case "RRSIG":
			r.Covers = types[f[3]]
		}
		list = append(list, r)
	}
	return list
}

func text(list []Record) string {
	var lines []string
	for _, r := range list {
		line := fmt.Sprintf("%s %d %s", r.Name, r.TTL, typeName(r.Type))
		switch {
		case r.Addr.IsValid():
			line += " " + r.Addr.String()
		case r.Target != "":
			line += " " + r.Target
		case r.Covers != 0:
			line += " " + typeName(r.Covers)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// answer reads "RCODE answer / authority"; the rcode may be left out. BOGUS is SERVFAIL because of signatures.
func answer(t *testing.T, s string) (a Answer) {
	t.Helper()
	head, tail, _ := strings.Cut(s, "/")
	for word, rcode := range map[string]uint16{"SERVFAIL": ServFail, "NXDOMAIN": NXDomain, "REFUSED": 5, "NOTIMP": 4, "BOGUS": ServFail, "FORMERR": 1} {
		if rest, ok := strings.CutPrefix(head, word); ok {
			a.Rcode, a.Bogus, head = rcode, word == "BOGUS", rest
			break
		}
	}
	a.Answer, a.Authority = records(t, head), records(t, tail)
	return a
}

// pref64 reads "PREFIX" or "PREFIX=RANGE,RANGE".
func pref64(s string) (p Pref64) {
	if err := p.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return p
}

func TestPref64Text(t *testing.T) {
	for _, s := range []string{"64:ff9b::/96", "2001:db8:64::/96=10.0.0.0/8", "2001:db8:64::/48=10.0.0.0/8,192.168.0.0/16"} {
		if got, err := pref64(s).MarshalText(); err != nil || string(got) != s {
			t.Errorf("%s became %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "64:ff9b::", "64:ff9b::/97", "64:ff9b::/96=x", "10.0.0.0/8"} {
		if err := new(Pref64).UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
