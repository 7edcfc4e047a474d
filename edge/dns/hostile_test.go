package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// four is an upstream with one name that has IPv4 alone.
func four(t *testing.T) *fake {
	return newFake(t, map[string]string{"four.test. AAAA": soa30, "four.test. A": "four.test. 300 A 8.0.0.1", "six.test. AAAA": "AD six.test. 60 AAAA 2001:db8::1",
		"four.cluster.test. A": "four.cluster.test. 5 A 8.0.0.1", "four.cluster.test. AAAA": soa30})
}

const synthesised = "four.test. 30 IN AAAA 64:ff9b::800:1"

// What an upstream may do instead of answering. Each ends in bounded time (the client's patience is far longer) and with a right code.
func TestHostileUpstreams(t *testing.T) {
	pack := func(m *dns.Msg) []byte {
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	for _, tc := range []struct {
		name   string
		mangle func(q, r *dns.Msg, tcp bool) []byte
		want   string
	}{
		{"silent", func(_, _ *dns.Msg, _ bool) []byte { return nil }, "SERVFAIL"},
		{"silent about AAAA", func(_, r *dns.Msg, _ bool) []byte {
			if r.Question[0].Qtype == dns.TypeAAAA {
				return nil
			}
			return pack(r)
		}, "four.test. 300 IN AAAA 64:ff9b::800:1"},
		{"another number", func(_, r *dns.Msg, _ bool) []byte { r.Id++; return pack(r) }, "SERVFAIL"},
		{"another question", func(_, r *dns.Msg, _ bool) []byte { r.Question[0].Name = "evil.test."; return pack(r) }, "SERVFAIL"},
		{"another type", func(_, r *dns.Msg, _ bool) []byte { r.Question[0].Qtype = dns.TypeTXT; return pack(r) }, "SERVFAIL"},
		{"its question again", func(q, _ *dns.Msg, _ bool) []byte { return pack(q) }, "SERVFAIL"},
		{"half a message", func(_, r *dns.Msg, _ bool) []byte { b := pack(r); return b[:len(b)-5] }, "SERVFAIL"},
		{"lower case", func(_, r *dns.Msg, _ bool) []byte {
			r.Question[0].Name = strings.ToLower(r.Question[0].Name)
			return pack(r)
		}, synthesised},
		{"truncated by UDP", func(_, r *dns.Msg, tcp bool) []byte {
			if !tcp {
				r.Truncated, r.Answer, r.Ns = true, nil, nil
			}
			return pack(r)
		}, synthesised},
		{"truncated by TCP, too", func(_, r *dns.Msg, _ bool) []byte {
			r.Truncated, r.Answer, r.Ns = true, nil, nil
			return pack(r)
		}, "SERVFAIL"},
		{"no EDNS", func(q, r *dns.Msg, _ bool) []byte {
			r.Extra = nil
			if q.IsEdns0() != nil {
				r.Rcode, r.Answer, r.Ns = dns.RcodeFormatError, nil, nil
			}
			return pack(r)
		}, synthesised},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := four(t)
			f.mangle = tc.mangle
			s := run(t, configFor(f))
			got := s.ask("four.test.", dns.TypeAAAA)
			if shown(got) != tc.want {
				t.Errorf("got %s, want %s", shown(got), tc.want)
			}
			if code, ok := extended(got); tc.want == "SERVFAIL" && (!ok || code != dns.ExtendedErrorCodeNoReachableAuthority) {
				t.Errorf("RFC 8914 4.23: extended error %d, %v", code, ok)
			}
		})
	}
}

// RFC 1034 5.2.2: aliases that lead in a circle, or have no end, are not followed for ever. A circle inside one message is an error; else the answer
// is what the server says: to follow aliases from message to message is its work, and each question costs it two at most.
func TestRFC1034_5_2_2_AliasesInACircle(t *testing.T) {
	alias := func(to func(name string) string) func(q, r *dns.Msg, tcp bool) []byte {
		return func(q, r *dns.Msg, _ bool) []byte {
			rr, err := dns.NewRR(q.Question[0].Name + " 60 CNAME " + to(q.Question[0].Name))
			if err != nil {
				t.Error(err)
			}
			r.Rcode, r.Answer, r.Ns = dns.RcodeSuccess, []dns.RR{rr}, nil
			b, err := r.Pack()
			if err != nil {
				t.Error(err)
			}
			return b
		}
	}
	for name, tc := range map[string]struct {
		to   func(string) string
		code int
	}{
		"of itself": {func(name string) string { return name }, dns.RcodeServerFailure},
		"of each other": {func(name string) string {
			return map[bool]string{true: "b.test.", false: "a.test."}[strings.EqualFold(name, "a.test.")]
		}, dns.RcodeSuccess},
		"without end": {func(name string) string { return "a" + name }, dns.RcodeSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := four(t)
			f.mangle = alias(tc.to)
			s := run(t, configFor(f))
			got := s.ask("a.test.", dns.TypeAAAA)
			if got.Rcode != tc.code {
				t.Errorf("got %s, want %s", shown(got), dns.RcodeToString[tc.code])
			}
			for _, rr := range got.Answer {
				if rr.Header().Rrtype != dns.TypeCNAME {
					t.Errorf("an address came of it: %s", rr)
				}
			}
			if n := strings.Count(f.questions(), ".test."); n < 1 || n > 2 {
				t.Errorf("%d questions were asked, want at most 2", n)
			}
		})
	}
}

func TestAnotherUpstreamTakesOver(t *testing.T) {
	silent, good := newFake(t, map[string]string{"four.test. AAAA": "silent", "four.test. A": "silent"}), four(t)
	refusing := newFake(t, map[string]string{"four.test. AAAA": "REFUSED", "four.test. A": "SERVFAIL"})
	c := configFor(good)
	c.Zones[0].Upstreams = []Upstream{{Addr: silent.addr, Via: UDP}, {Addr: refusing.addr, Via: UDP}, {Addr: good.addr, Via: TCP}}
	s := run(t, c)
	if got := shown(s.ask("four.test.", dns.TypeAAAA)); got != synthesised {
		t.Errorf("got %s", got)
	}
	if q := good.questions(); !strings.Contains(q, "four.test. A tcp") {
		t.Errorf("the good one was asked %q", q)
	}
}

// Marks: a name with IPv4 alone costs two questions, one that does not exist one, for all its types (RFC 2308 5).
func TestQuestionsAskedUpstream(t *testing.T) {
	f := four(t)
	s := run(t, configFor(f))
	for _, tc := range []struct {
		name string
		typ  uint16
		want string
	}{
		{"four.test.", dns.TypeAAAA, "four.test. AAAA, four.test. A"},
		{"four.test.", dns.TypeAAAA, ""},
		{"four.test.", dns.TypeA, ""},
		{"none.test.", dns.TypeAAAA, "none.test. AAAA"},
		{"none.test.", dns.TypeA, ""},
		{"none.test.", dns.TypeTXT, ""},
		{"six.test.", dns.TypeAAAA, "six.test. AAAA"},
	} {
		s.ask(tc.name, tc.typ)
		if got := f.questions(); got != tc.want {
			t.Errorf("%s %s asked %q, want %q", tc.name, dns.TypeToString[tc.typ], got, tc.want)
		}
	}
}

func TestManyClientsOneQuestion(t *testing.T) {
	f := four(t)
	f.hold = make(chan struct{})
	s := run(t, configFor(f))
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			m := new(dns.Msg)
			m.SetQuestion("four.test.", dns.TypeAAAA)
			m.Id = uint16(messageID.Add(1))
			c := dns.Client{Timeout: 20 * time.Second}
			if got, _, err := c.Exchange(m, s.addr.String()); err != nil || shown(got) != synthesised {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for s.Status().Queries < 50 && !t.Failed() { // until all have come; none is answered
		<-look.C
	}
	close(f.hold)
	wait.Wait()
	if got := strings.Count(f.questions(), " AAAA"); got > 3 { // a server that is held is asked again
		t.Errorf("AAAA was asked %d times", got)
	}
}

func TestSizes_RFC6891_6_2_5(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("big.test. 60 A 8.0.0.%d", i+1))
	}
	f := newFake(t, map[string]string{"big.test. AAAA": soa30, "big.test. A": strings.Join(many, ";")})
	s := run(t, configFor(f))
	for _, pass := range []string{"made", "remembered"} {
		if got := s.ask("big.test.", dns.TypeAAAA, "noedns"); !got.Truncated || len(got.Answer) != 0 || got.IsEdns0() != nil {
			t.Errorf("%s, without EDNS: %s", pass, got)
		}
		m := new(dns.Msg)
		m.SetQuestion("big.test.", dns.TypeAAAA)
		if got := s.exchange("tcp", m); got.Truncated || len(got.Answer) != 40 {
			t.Errorf("%s, by TCP: %d records, truncated %v", pass, len(got.Answer), got.Truncated)
		}
	}
}

func TestCaseOfTheClientIsKept(t *testing.T) {
	s := run(t, configFor(four(t)))
	for range 2 {
		got := s.ask("FoUr.TeSt.", dns.TypeAAAA)
		if got.Question[0].Name != "FoUr.TeSt." || len(got.Answer) != 1 || got.Answer[0].Header().Name != "FoUr.TeSt." {
			t.Errorf("%s", got)
		}
	}
}

func TestAD_RFC6840_5_8(t *testing.T) {
	f := four(t)
	f.set("four.test. A", "AD four.test. 300 A 8.0.0.1")
	f.set("four.test. AAAA", "AD "+soa30)
	s := run(t, configFor(f))
	for range 2 {
		if got := s.ask("six.test.", dns.TypeAAAA, "AD"); !got.AuthenticatedData {
			t.Errorf("the word of a server on this host is lost: %s", got)
		}
		if got := s.ask("six.test.", dns.TypeAAAA); got.AuthenticatedData {
			t.Errorf("AD for a client that did not ask for it: %s", got)
		}
		if got := s.ask("four.test.", dns.TypeAAAA, "AD"); got.AuthenticatedData {
			t.Errorf("RFC 6147 5.5: AD on what was made: %s", got)
		}
	}
}

func TestClientsAndZones(t *testing.T) {
	everything, cluster := four(t), four(t)
	c := configFor(everything)
	c.Zones = append(c.Zones, Zone{Name: "cluster.test.", Upstreams: []Upstream{{Addr: cluster.addr, Via: UDP}}})
	c.Policy.Never = []string{"cluster.test."}
	s := run(t, c)
	if got := shown(s.ask("four.cluster.test.", dns.TypeAAAA)); got != "NOERROR" {
		t.Errorf("a name of the cluster: %s", got)
	}
	if q := everything.questions() + "|" + cluster.questions(); q != "|four.cluster.test. AAAA" {
		t.Errorf("asked %s", q)
	}
	c.Clients.Capable = c.Allow
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	if got := shown(s.ask("four.test.", dns.TypeAAAA)); got != "NOERROR" {
		t.Errorf("a client with IPv4: %s", got)
	}
	c.Allow = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	var q query
	m := new(dns.Msg)
	m.SetQuestion("four.test.", dns.TypeAAAA)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if out, missed := s.handle(nil, b, netip.MustParseAddr("::1"), true, &q, s.now()); out != nil || missed {
		t.Errorf("a stranger is answered: %x", out)
	}
}

// Clients of one range differ: a single one is another kind of client, beside others and with what is remembered for them.
func TestSingleClients(t *testing.T) {
	c := configFor(four(t))
	c.Allow = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}
	c.Clients = dns64.Clients{Capable: c.Allow, Unlike: []netip.Addr{netip.MustParseAddr("2001:db8:1::5")}}
	s := run(t, c)
	m := new(dns.Msg)
	m.SetQuestion("four.test.", dns.TypeAAAA)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	answers := func(from string) string {
		var q query
		out, missed := s.handle(nil, b, netip.MustParseAddr(from), true, &q, s.now())
		if missed {
			out = s.slow(s.state.Load(), &q, b, s.state.Load().clientOf(netip.MustParseAddr(from)), true)
		}
		var got dns.Msg
		if err := got.Unpack(out); err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		return shown(&got)
	}
	const made = "four.test. 30 IN AAAA 64:ff9b::800:1"
	for range 2 { // made, then remembered
		for from, want := range map[string]string{"2001:db8:1::4": "NOERROR", "2001:db8:1::5": made, "2001:db8:1::6": "NOERROR"} {
			if got := answers(from); got != want {
				t.Errorf("%s finds %q, want %q", from, got, want)
			}
		}
	}
	for from, want := range map[string]dns64.Why{"2001:db8:1::4": dns64.ClientCapable, "2001:db8:1::5": dns64.Synthesised} {
		if l, err := s.Lookup(t.Context(), LookupRequest{Name: "four.test", Type: "AAAA", From: netip.MustParseAddr(from)}); err != nil || l.Why != want {
			t.Errorf("%s: %q (%v), want %q", from, l.Why, err, want)
		}
	}
	if _, err := s.Lookup(t.Context(), LookupRequest{Name: "four.test", Type: "AAAA", From: netip.MustParseAddr("2001:db8:2::4")}); err == nil {
		t.Error("a stranger is looked up as a client")
	}
	c.Clients = dns64.Clients{Unlike: []netip.Addr{netip.MustParseAddr("2001:db8:1::6")}}
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{"2001:db8:1::4": made, "2001:db8:1::6": "NOERROR"} {
		if got := answers(from); got != want {
			t.Errorf("told otherwise, %s finds %q, want %q", from, got, want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Zone{Name: ".", Upstreams: []Upstream{{Addr: netip.MustParseAddrPort("[::1]:53"), Via: UDP}}}
	for _, c := range []Config{
		{},
		{Zones: []Zone{{Name: "."}}},
		{Zones: []Zone{good, good}},
		{Zones: []Zone{good, {Name: "Test.", Upstreams: good.Upstreams}}},
		{Zones: []Zone{good, {Name: "test", Upstreams: good.Upstreams}}},
		{Zones: []Zone{{Name: ".", Upstreams: []Upstream{{Addr: netip.MustParseAddrPort("[::1]:0"), Via: UDP}}}}},
		{Zones: []Zone{{Name: ".", Upstreams: []Upstream{{Addr: netip.MustParseAddrPort("[::1]:53"), Via: "https"}}}}},
		{Zones: []Zone{good}, CacheBytes: 1},
	} {
		if _, err := New(c, nil); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// slow is an upstream that answers for AAAA, and for A, when the test says so; asked is closed when it was asked for A.
func slow(t *testing.T) (f *fake, answerAAAA, answerA func(), asked <-chan struct{}) {
	t.Helper()
	f = newFake(t, map[string]string{"slow.test. AAAA": "slow.test. 300 AAAA 2001:db8::1", "slow.test. A": "slow.test. 300 A 192.0.2.1"})
	askedA, releaseAAAA, releaseA := make(chan struct{}), make(chan struct{}), make(chan struct{})
	tell := sync.OnceFunc(func() { close(askedA) })
	answerAAAA, answerA = sync.OnceFunc(func() { close(releaseAAAA) }), sync.OnceFunc(func() { close(releaseA) })
	t.Cleanup(answerAAAA) // before the upstream ends, which waits for its answers
	t.Cleanup(answerA)
	f.mangle = func(q, r *dns.Msg, _ bool) []byte {
		if q.Question[0].Qtype == dns.TypeA {
			tell()
			<-releaseA
		} else {
			<-releaseAAAA
		}
		b, err := r.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	return f, answerAAAA, answerA, askedA
}

// A was asked for beside a slow AAAA and is not needed there any more; another client waits for it.
func TestQuestionOutlivesWhoPutIt(t *testing.T) {
	f, answerAAAA, answerA, askedA := slow(t)
	s := run(t, configFor(f))
	six, four := make(chan string, 1), make(chan string, 1)
	go func() { six <- shown(s.ask("slow.test.", dns.TypeAAAA)) }()
	<-askedA
	go func() { four <- shown(s.ask("slow.test.", dns.TypeA)) }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for s.Status().Queries < 2 {
		<-look.C
	}
	answerAAAA()
	if got, want := <-six, "slow.test. 300 IN AAAA 2001:db8::1"; got != want {
		t.Errorf("AAAA: %s, want %s", got, want)
	}
	answerA()
	if got, want := <-four, "slow.test. 300 IN A 192.0.2.1"; got != want {
		t.Errorf("A: %s, want %s", got, want)
	}
}

// Who looks on is told of nothing that comes after the answer.
func TestLookupEndsBeforeItsLastQuestion(t *testing.T) {
	f, answerAAAA, answerA, askedA := slow(t)
	s := run(t, configFor(f))
	go func() {
		<-askedA
		answerAAAA()
	}()
	l, err := s.Lookup(t.Context(), LookupRequest{Name: "slow.test.", Type: "AAAA", Client: dns64.SixOnly})
	if err != nil || len(l.Answer) != 1 || len(l.Asked) != 1 || l.Asked[0].Type != "AAAA" {
		t.Errorf("%+v, %v", l, err)
	}
	answerA()
	s.ask("slow.test.", dns.TypeA) // comes when the question of before has its answer
}

// One client cannot take all connections, nor all places of those that wait.
func TestOneClientLeavesRoom(t *testing.T) {
	f := four(t)
	f.hold = make(chan struct{})
	s := run(t, configFor(f))
	var conns []net.Conn
	for range maxTCPOfOne + 1 {
		c, err := net.Dial("tcp", s.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	last := conns[maxTCPOfOne]
	if err := last.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one connection more than a client may have: %d bytes, %v, want it closed", n, err)
	}

	s.waits.most = 1 // nobody waits yet
	m := new(dns.Msg)
	m.SetQuestion("four.test.", dns.TypeA)
	c := dns.Client{Timeout: 100 * time.Millisecond}
	for s.Status().Overload == 1 { // the connection; until one question waits and another one is refused
		if got, _, err := c.Exchange(m, s.addr.String()); err == nil && got.Rcode == dns.RcodeSuccess {
			t.Fatalf("a question that has to wait: %s", shown(got))
		}
	}
	close(f.hold)
	for {
		if got, _, err := c.Exchange(m, s.addr.String()); err == nil && got.Rcode == dns.RcodeSuccess {
			break
		}
	}
}

// An upstream that asks the server itself again, as resolvers do that were told of each other, ends in bounded time and with a right code; and the server
// answers when it is told better.
func TestUpstreamsInACircle(t *testing.T) {
	by := func(addr netip.AddrPort) Config {
		c := configFor(four(t))
		c.Zones[0].Upstreams[0].Addr = addr
		return c
	}
	for name, far := range map[string]bool{"itself": false, "another that asks it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := run(t, configFor(four(t)))
			next := s.addr
			if far {
				next = run(t, by(s.addr)).addr
			}
			if err := s.Configure(by(next)); err != nil {
				t.Fatal(err)
			}
			if got := s.ask("four.test.", dns.TypeAAAA); shown(got) != "SERVFAIL" {
				t.Errorf("got %s, want SERVFAIL", shown(got))
			}
			if err := s.Configure(configFor(four(t))); err != nil {
				t.Fatal(err)
			}
			if got, want := s.ask("six.test.", dns.TypeAAAA), "six.test. 60 IN AAAA 2001:db8::1"; shown(got) != want {
				t.Errorf("told better it says %s, want %s", shown(got), want)
			}
		})
	}
}
