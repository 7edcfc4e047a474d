package dns

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
	"hexapod.dev/model/xlat"
)

// fake is an upstream that says what a test wants, on a port of the loopback.
type fake struct {
	t    *testing.T
	addr netip.AddrPort

	mu      sync.Mutex
	answers map[string]string // "name. TYPE" to "[RCODE] record; record / authority"; see say
	asked   []string          // "name. TYPE", lower case, with " tcp" behind those that came by TCP
	mangle  func(q, r *dns.Msg, tcp bool) []byte
	hold    chan struct{} // not nil: no answer goes out until it is closed
}

// listen opens one port of the loopback by UDP and by TCP. A port that is free for the one may be in use by the other: then another.
func listen(t *testing.T) (*net.UDPConn, *net.TCPListener) {
	t.Helper()
	var err error
	for range 100 {
		var udp *net.UDPConn
		var tcp *net.TCPListener
		if udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:0"))); err != nil {
			break
		}
		if tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(udp.LocalAddr().(*net.UDPAddr).AddrPort())); err == nil {
			return udp, tcp
		}
		udp.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// newFake starts an upstream. It answers NXDOMAIN to what it was told nothing about.
func newFake(t *testing.T, answers map[string]string) *fake {
	t.Helper()
	f := &fake{t: t, answers: answers}
	pc, l := listen(t)
	f.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, s := range []*dns.Server{{PacketConn: pc}, {Listener: l}} {
		s.Handler = dns.HandlerFunc(f.serve)
		done := make(chan struct{})
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return f
}

func (f *fake) serve(w dns.ResponseWriter, q *dns.Msg) {
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	key := dns.CanonicalName(q.Question[0].Name) + " " + dns.TypeToString[q.Question[0].Qtype]
	f.mu.Lock()
	asked := key
	if tcp {
		asked += " tcp"
	}
	f.asked = append(f.asked, asked)
	text, ok := f.answers[key]
	mangle, hold := f.mangle, f.hold
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if !ok {
		text = "NXDOMAIN / test. 30 SOA ns.test. h.test. 1 2 3 4 30"
	}
	if text == "silent" {
		return
	}
	r := say(f.t, q, text)
	if mangle != nil {
		if b := mangle(q, r, tcp); b != nil {
			_, _ = w.Write(b)
		}
		return
	}
	if !tcp && r.Len() > 1232 {
		r.Truncated, r.Answer = true, nil
	}
	_ = w.WriteMsg(r)
}

// questions returns what was asked since the last call.
func (f *fake) questions() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := strings.Join(f.asked, ", ")
	f.asked = nil
	return out
}

func (f *fake) set(key, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[key] = answer
}

// say makes a message of text: an rcode, EDE=n and AD may come first, then records, and the authority section behind a slash.
func say(t *testing.T, q *dns.Msg, text string) *dns.Msg {
	r := new(dns.Msg)
	r.SetReply(q)
	r.RecursionAvailable = true
	r.SetEdns0(1232, false)
	head, tail, _ := strings.Cut(text, "/")
	for {
		word, rest, _ := strings.Cut(strings.TrimSpace(head), " ")
		if rcode, ok := dns.StringToRcode[word]; ok {
			r.Rcode = rcode
		} else if word == "BOGUS" {
			r.Rcode = dns.RcodeServerFailure
			r.IsEdns0().Option = append(r.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
		} else if word == "AD" {
			r.AuthenticatedData = true
		} else {
			break
		}
		head = rest
	}
	r.Answer, r.Ns = rrs(t, head), rrs(t, tail)
	return r
}

func rrs(t *testing.T, text string) (list []dns.RR) {
	for _, line := range strings.Split(text, ";") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		rr, err := dns.NewRR(strings.TrimSpace(line))
		if err != nil {
			t.Errorf("record %q: %v", line, err)
			continue
		}
		list = append(list, rr)
	}
	return list
}

// policyFor is a policy with the well-known prefix.
func policyFor() dns64.Policy {
	return dns64.Policy{Prefixes: []dns64.Pref64{{Pref64: xlat.WellKnown}}}
}

// configFor asks one upstream for everything, and answers the loopback.
func configFor(f *fake) Config {
	return Config{Policy: policyFor(), Zones: []Zone{{Name: ".", Upstreams: []Upstream{{Addr: f.addr, Via: UDP}}}},
		Allow: []netip.Prefix{netip.MustParsePrefix("::1/128")}, CacheBytes: minCacheBytes}
}

// running is a server at work.
type running struct {
	*Server
	t    *testing.T
	addr netip.AddrPort
}

// run starts a server on a port of the loopback.
func run(t *testing.T, c Config) *running {
	t.Helper()
	s, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	udp, tcp := listen(t)
	r := &running{Server: s, t: t, addr: udp.LocalAddr().(*net.UDPAddr).AddrPort()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, []Datagrams{&single{UDPConn: udp}}, []*net.TCPListener{tcp}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		udp.Close()
		tcp.Close()
	})
	return r
}

// single reads one datagram at a time.
type single struct {
	*net.UDPConn
	b    []byte
	from netip.AddrPort
}

func (s *single) Read() (int, error) {
	if s.b == nil {
		s.b = make([]byte, maxMessage)
	}
	n, from, err := s.ReadFromUDPAddrPort(s.b[:maxMessage])
	if err != nil {
		return 0, err
	}
	s.b, s.from = s.b[:n], from
	return 1, nil
}

func (s *single) Message(int) ([]byte, netip.Addr) { return s.b, s.from.Addr() }
func (s *single) Answer(i int, b []byte)           { s.Later(i)(b) }
func (s *single) Flush()                           {}

func (s *single) Later(int) func([]byte) {
	from := s.from
	return func(b []byte) { _, _ = s.WriteToUDPAddrPort(b, from) }
}

// messageID numbers the questions of a test.
var messageID atomic.Uint32

// exchange asks the server by "udp" or "tcp".
func (r *running) exchange(network string, m *dns.Msg) *dns.Msg {
	r.t.Helper()
	m.Id = uint16(messageID.Add(1))
	c := dns.Client{Net: network, Timeout: 20 * time.Second, UDPSize: 65535}
	got, _, err := c.Exchange(m, r.addr.String())
	if err != nil {
		r.t.Fatalf("%s %s: %v", m.Question[0].Name, dns.TypeToString[m.Question[0].Qtype], err)
	}
	return got
}

// ask asks for a name and type by UDP with EDNS; opts are DO, CD, AD and noedns.
func (r *running) ask(name string, typ uint16, opts ...string) *dns.Msg {
	r.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, typ)
	edns, do := true, false
	for _, o := range opts {
		switch o {
		case "DO":
			do = true
		case "CD":
			m.CheckingDisabled = true
		case "AD":
			m.AuthenticatedData = true
		case "noedns":
			edns = false
		}
	}
	if edns {
		m.SetEdns0(1232, do)
	}
	return r.exchange("udp", m)
}

// shown is an answer in one line.
func shown(m *dns.Msg) string {
	var list []string
	for _, rr := range m.Answer {
		list = append(list, strings.Join(strings.Fields(rr.String()), " "))
	}
	out := strings.Join(list, "; ")
	if m.Rcode != dns.RcodeSuccess || out == "" {
		out = strings.TrimSpace(dns.RcodeToString[m.Rcode] + " " + out)
	}
	return out
}
