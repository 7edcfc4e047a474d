package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/upstream"
)

const patience = 60 * time.Second

// resolvers say what a test wants.
type resolvers struct {
	mu   sync.Mutex
	list []dns.Discovered
	err  error
}

func (r *resolvers) say(err error, list ...dns.Discovered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list, r.err = list, err
}

func (r *resolvers) ask(context.Context, dns.DiscoverRequest) ([]dns.Discovered, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list, r.err
}

// dns64 says that a server makes addresses with the prefix 2001:db8:64::/96.
func dns64(server string, ttl uint32) dns.Discovered {
	return dns.Discovered{Server: server, Rcode: "NOERROR", TTL: ttl, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:64::c000:aa"), netip.MustParseAddr("2001:db8:64::c000:ab")}}
}

var made = netip.MustParsePrefix("2001:db8:64::/96")

// running is a finder at work in a namespace of its own, which has no links.
type running struct {
	*Finder
	changes chan struct{}
	log     written
	end     func()
}

// written is a log, line by line.
type written chan string

func (w written) Write(line []byte) (int, error) {
	select {
	case w <- string(line):
	default: // nobody reads
	}
	return len(line), nil
}

func run(t *testing.T, file string, r *resolvers) *running {
	t.Helper()
	x := &running{changes: make(chan struct{}, 100), log: make(written, 100)}
	var err error
	x.Finder, err = Open(Options{File: file, NS: netnstest.New(t), Log: slog.New(slog.NewTextHandler(x.log, nil)), Ask: r.ask,
		Snapshot: func() desired.Snapshot {
			return desired.Snapshot{Config: desired.Config{Fabric: netip.MustParsePrefix("2001:db8:8000::/37")}}
		},
		Changed: func() { x.changes <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	x.end = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, x.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(x.end)
	go func() { done <- x.Run(ctx) }()
	return x
}

// uses waits until exactly these prefixes are used.
func (x *running) uses(t *testing.T, want ...netip.Prefix) {
	t.Helper()
	timeout := time.After(patience)
	for {
		if used, _ := x.Prefixes(); slices.Equal(used, want) {
			return
		}
		select {
		case <-x.changes:
		case <-timeout:
			used, _ := x.Prefixes()
			t.Fatalf("%v are used, want %v; state %+v", used, want, x.State())
		}
	}
}

func byDNS(name string) *Want {
	return &Want{Name: name, Sources: []upstream.Source{upstream.RA, upstream.DNS}}
}

// What a resolver shows is used, lives on while it is silent, is kept for the next agent, and ends when it says that there is no DNS64.
func TestRFC7050_3_ResolverIsFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "upstream")
	r := &resolvers{}
	r.say(nil, dns64("udp://[2001:db8::53]:53", 600), dns.Discovered{Server: "udp://[2001:db8::54]:53", Rcode: "NOERROR"})
	x := run(t, file, r)
	x.Set(byDNS("provider"))
	x.uses(t, made)
	s := x.State()
	if len(s.Prefixes) != 1 || s.Prefixes[0].Source != "dns" || s.Prefixes[0].From != "udp://[2001:db8::53]:53" || s.Prefixes[0].Left < 500 || len(s.Resolvers) != 2 || s.Why != "" {
		t.Errorf("state %+v", s)
	}
	x.end()

	r.say(errors.New("the DNS server is not there yet"))
	y := run(t, file, r)
	y.Set(byDNS("provider"))
	if used, _ := y.Prefixes(); !slices.Equal(used, []netip.Prefix{made}) {
		t.Errorf("the next agent begins with %v, want what the one before found", used)
	}
	y.mu.Lock()
	y.takeAll([]dns.Discovered{{Server: "udp://[2001:db8::53]:53", Failure: "no answer in time"}}, y.now())
	y.mu.Unlock()
	y.Wake()
	if used, _ := y.Prefixes(); !slices.Equal(used, []netip.Prefix{made}) {
		t.Errorf("a resolver that is silent ends its prefix: %v", used)
	}
	y.mu.Lock()
	y.takeAll([]dns.Discovered{{Server: "udp://[2001:db8::53]:53", Rcode: "NOERROR"}}, y.now())
	y.mu.Unlock()
	y.Wake()
	y.uses(t)
	s = y.State()
	if s.Why != string(upstream.Gone) {
		t.Errorf("no prefix is used because %q, want %q", s.Why, upstream.Gone)
	}
	if _, past := y.Prefixes(); !slices.Equal(past, []netip.Prefix{made}) {
		t.Errorf("policies hold in %v, want %s still", past, made)
	}
	y.Set(nil)
	if used, past := y.Prefixes(); used != nil || past != nil || y.Report() != nil {
		t.Errorf("nothing is wanted: %v %v %v", used, past, y.Report())
	}
}

// When the DNS server of the host asks others, they are asked at once, and what comes of a question to those before does not count.
func TestOtherResolversAreAsked(t *testing.T) {
	r := &resolvers{}
	r.say(nil, dns64("udp://[2001:db8::53]:53", 600))
	x := run(t, filepath.Join(t.TempDir(), "upstream"), r)
	x.Set(byDNS("provider"))
	x.uses(t, made)
	r.say(nil, dns.Discovered{Server: "udp://[2001:db8::54]:53", Rcode: "NOERROR"})
	others := []dns.Upstream{{Addr: netip.MustParseAddrPort("[2001:db8::54]:53"), Via: dns.UDP}}
	x.Asks(others)
	x.uses(t)
	x.mu.Lock()
	round := x.round
	x.mu.Unlock()
	x.take(asked{round - 1, []dns.Discovered{dns64("udp://[2001:db8::53]:53", 600)}, nil})
	x.Asks(slices.Clone(others))
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.round != round || len(x.resolved) != 1 || len(x.resolved["udp://[2001:db8::54]:53"].claims) > 0 {
		t.Errorf("round %d after %d, resolvers %+v", x.round, round, x.resolved)
	}
}

// What the agent before heard of a router counts until that router is heard.
func TestKeptUntilTheRouterIsHeard(t *testing.T) {
	x := run(t, filepath.Join(t.TempDir(), "upstream"), &resolvers{})
	x.mu.Lock()
	defer x.mu.Unlock()
	other := netip.MustParsePrefix("2001:db8:65::/96")
	x.want = &Want{Name: "provider", Sources: []upstream.Source{upstream.RA}}
	x.kept = []upstream.Claim{{Prefix: made, Source: upstream.RA, From: "fe80::1 on up0", Until: x.now() + keepDoubt}}
	for _, tc := range []struct {
		from string
		want []netip.Prefix
	}{{"", []netip.Prefix{made}}, {"fe80::2 on up0", []netip.Prefix{made, other}}, {"fe80::1 on up0", []netip.Prefix{other}}} {
		var told []upstream.Claim
		if tc.from != "" {
			told = []upstream.Claim{{Prefix: other, Source: upstream.RA, From: tc.from, Until: x.now() + 600}}
		}
		x.judge(told)
		if got := upstream.Prefixes(x.verdicts); !slices.Equal(got, tc.want) {
			t.Errorf("when %q is heard: %v, want %v", tc.from, got, tc.want)
		}
	}
}

// Another host's file, or one that cannot be read, is no find.
func TestKeptFileOfAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "upstream")
	r := &resolvers{}
	r.say(nil, dns64("udp://[2001:db8::53]:53", 600))
	x := run(t, file, r)
	x.Set(byDNS("provider"))
	x.uses(t, made)
	x.end()
	r.say(errors.New("nobody"))
	y := run(t, file, r)
	y.Set(byDNS("another"))
	if used, _ := y.Prefixes(); used != nil {
		t.Errorf("%v were found for another Translation", used)
	}
}

// Lies are refused and named in the status; a prefix of the fabric is one.
func TestLiesAreNamed(t *testing.T) {
	r := &resolvers{}
	r.say(nil, dns.Discovered{Server: "udp://[2001:db8::53]:53", Rcode: "NOERROR", TTL: 60, Addrs: []netip.Addr{
		netip.MustParseAddr("2001:db8:8001::c000:aa"), netip.MustParseAddr("2001:db8:80::80")}})
	x := run(t, filepath.Join(t.TempDir(), "upstream"), r)
	x.Set(byDNS("provider"))
	for range 2 {
		select {
		case line := <-x.log:
			if !strings.Contains(line, "refused") || !strings.Contains(line, "udp://[2001:db8::53]:53") {
				t.Errorf("the log says %s", line)
			}
		case <-time.After(patience):
			t.Fatalf("no lie is told of: %+v", x.State())
		}
	}
	list := x.Report()
	var why []string
	for _, o := range list {
		why = append(why, o.Kind+" "+o.Name+" "+string(o.State)+" "+o.Why)
	}
	text := strings.Join(why, "\n")
	for _, want := range []string{"2001:db8:8001::/96 by udp://[2001:db8::53]:53 failed refused: " + string(upstream.OurOwn),
		"2001:db8:80::80/128 by udp://[2001:db8::53]:53 failed refused: " + string(upstream.NoWellKnown), "nat64 provider failed " + string(upstream.Refused)} {
		if !strings.Contains(text, want) {
			t.Errorf("the status does not say %q:\n%s", want, text)
		}
	}
}

// Prefixes that are written are used as they are: nobody is asked.
func TestGiven(t *testing.T) {
	r := &resolvers{}
	x := run(t, filepath.Join(t.TempDir(), "upstream"), r)
	x.Set(&Want{Name: "provider", Given: []netip.Prefix{made}})
	if s := x.State(); len(s.Prefixes) != 1 || !s.Prefixes[0].Used || s.Prefixes[0].Source != given || s.Why != "" {
		t.Errorf("state %+v", s)
	}
	if list := x.Report(); len(list) != 1 || !strings.Contains(list[0].Detail, "2001:db8:64::/96 (given)") {
		t.Errorf("status %+v", list)
	}
}
