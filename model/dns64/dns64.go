// Package dns64 decides what a DNS64 answers: RFC 6147, with the names of RFC 7050 and RFC 8880.
//
// It works on values, not on messages: who parses bytes turns records into Record, asks First what to look up, hands in what came
// back, and is told what to answer and why. Names are canonical: lower case, with the dot at the end.
package dns64

import (
	"cmp"
	"net/netip"
	"strings"

	"hexapod.dev/model/xlat"
)

// Types and codes of the DNS that decisions hang on (RFC 1035 3.2.2, RFC 3596, RFC 4034, RFC 6672).
const (
	TypeA     uint16 = 1
	TypeCNAME uint16 = 5
	TypeSOA   uint16 = 6
	TypePTR   uint16 = 12
	TypeAAAA  uint16 = 28
	TypeDNAME uint16 = 39
	TypeRRSIG uint16 = 46

	ClassIN uint16 = 1

	NoError  uint16 = 0
	ServFail uint16 = 2
	NXDomain uint16 = 3
)

// Client is what a client can do about IPv4.
type Client uint8

// Kinds of clients.
const (
	SixOnly Client = iota // has IPv6 alone: names without IPv6 addresses get some
	Capable               // has IPv4 of its own: it is told what is
)

// Pref64 is a prefix that carries IPv4 addresses, and which (RFC 6147 5.2).
type Pref64 struct {
	xlat.Pref64
	// For names the ranges of IPv4 the prefix stands for; none means all that are global. Private addresses must be named.
	For []netip.Prefix
}

// MarshalText writes PREFIX, or PREFIX=RANGE,RANGE.
func (x Pref64) MarshalText() ([]byte, error) {
	s := x.Prefix().String()
	for i, r := range x.For {
		s += [...]string{"=", ","}[min(i, 1)] + r.String()
	}
	return []byte(s), nil
}

// UnmarshalText reads what MarshalText writes.
func (x *Pref64) UnmarshalText(text []byte) error {
	first, ranges, _ := strings.Cut(string(text), "=")
	p, err := netip.ParsePrefix(first)
	if err != nil {
		return err
	}
	if x.Pref64, err = xlat.NewPref64(p); err != nil {
		return err
	}
	x.For = nil
	for _, s := range strings.Split(ranges, ",") {
		if s == "" {
			continue
		}
		r, err := netip.ParsePrefix(s)
		if err != nil {
			return err
		}
		x.For = append(x.For, r)
	}
	return nil
}

// Policy is what an operator decided.
type Policy struct {
	Prefixes []Pref64       // none: nothing is synthesised. All that name the most specific range of an address are used
	None     Why            // why there are no Prefixes, if it is another reason than NoPrefix
	Exclude  []netip.Prefix // AAAA records in here count as absent (RFC 6147 5.1.4); MappedPrefix is always excluded
	Never    []string       // zones whose names are never synthesised
	Strict   bool           // an error other than "no such name" for AAAA is an answer, and nobody asks for A (against RFC 6147 5.1.2)
	FilterA  bool           // six-only clients are told that names have no A records
}

// Question is what a client asked.
type Question struct {
	Name   string
	Type   uint16
	Class  uint16
	DO, CD bool // the client wants signatures; the client checks them itself (RFC 4035 3.2.1, 3.2.2)
}

// Record is what decisions need of a resource record.
type Record struct {
	Name   string
	Type   uint16
	TTL    uint32     // seconds
	Addr   netip.Addr // of A and AAAA
	Target string     // of CNAME, DNAME and PTR
	Covers uint16     // of RRSIG: the type it signs
	Ref    int        // where the caller keeps the record; Made for one that this package made
}

// Made is the Ref of a record that nobody sent.
const Made = -1

// Answer is what came back for one question.
type Answer struct {
	Rcode     uint16
	Bogus     bool // the upstream refused the data because its signatures are wrong (RFC 8914 4.7 and others)
	Answer    []Record
	Authority []Record
}

// Source says whose sections of authority and additional records a reply has.
type Source uint8

// Sources.
const (
	FromFirst  Source = iota // the answer to the question itself
	FromSecond               // the answer to the question that Step.Then asked
	FromNobody               // made here: Reply.Authority has it all
)

// Reply is what to answer. AD is never set on a reply with Synthesised: whoever validated the A records did not see these
// (RFC 6147 5.5).
type Reply struct {
	Rcode       uint16
	Answer      []Record
	Authority   []Record // of FromNobody
	From        Source
	Synthesised bool
	Why         Why
}

// Act says what to do with a question.
type Act uint8

// Acts.
const (
	Pass   Act = iota // ask upstream and answer with what comes back
	Known             // answer with Step.Reply, ask nobody
	Ask               // ask upstream, then call AfterAAAA
	Map               // ask for PTR of Step.Then, then call Reverse
	Filter            // ask upstream, then call WithoutA
)

// Step is what to do first.
type Step struct {
	Act   Act
	Then  string // of Map: the name to ask for
	Reply Reply  // of Known
	Why   Why    // of Pass
}

// First says what to do with a question.
func (p *Policy) First(q Question, c Client) Step {
	if q.Class != ClassIN {
		return Step{Act: Pass, Why: OtherClass}
	}
	if under(q.Name, wellKnownName) || q.Type == TypePTR && reverseOfWellKnown(q.Name) {
		return Step{Act: Known, Reply: p.wellKnown(q, c)}
	}
	switch {
	case q.Type == TypePTR:
		return p.firstPTR(q, c)
	case q.Type == TypeA && p.FilterA && c == SixOnly && !p.never(q.Name):
		return Step{Act: Filter}
	case q.Type != TypeAAAA:
		return Step{Act: Pass, Why: OtherType}
	case c == Capable:
		return Step{Act: Pass, Why: ClientCapable}
	case len(p.Prefixes) == 0:
		return Step{Act: Pass, Why: cmp.Or(p.None, NoPrefix)}
	case p.never(q.Name):
		return Step{Act: Pass, Why: ZoneKept}
	case q.DO && q.CD: // RFC 6147 5.5: the client validates, so it gets the data as they are and synthesises itself
		return Step{Act: Pass, Why: ClientValidates}
	}
	return Step{Act: Ask}
}

// never reports whether a name lies in a zone that is never synthesised.
func (p *Policy) never(name string) bool {
	for _, z := range p.Never {
		if under(name, z) {
			return true
		}
	}
	return false
}

// under reports whether a name is a zone's or below it.
func under(name, zone string) bool {
	if zone == "." {
		return true
	}
	rest, ok := strings.CutSuffix(name, zone)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}
