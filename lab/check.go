package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
)

// probePatience is how long an answer may take. The fabric needs well under a millisecond; the rest is for a busy machine.
const probePatience = 2 * time.Second

// senders is how many ask at a time: most of them wait when something is broken.
const senders = 16

// repeats is how many echo requests a pair gets: the first one finds the path, the others measure it.
const repeats = 3

// Pair is one ordered pair of a lab, and how it went.
type Pair struct {
	From, To string
	First    time.Duration // round trip of the first packet
	RTT      time.Duration // shortest round trip of those after it
	Sent     int
	Lost     int
	Refused  string // the rule by which the host of To refused, as it should
	Err      error  // nil: refused as it should, or ping and HTTP worked and the server saw the client's own address
}

// Report is the outcome of Check.
type Report struct {
	Pairs    []Pair
	Problems []error // everything that is wrong and not about a pair
}

// Failed lists the pairs that did not work.
func (r Report) Failed() []Pair {
	return slices.DeleteFunc(slices.Clone(r.Pairs), func(p Pair) bool { return p.Err == nil })
}

// Refused counts the pairs that were refused as they should.
func (r Report) Refused() int {
	n := 0
	for _, p := range r.Pairs {
		if p.Refused != "" {
			n++
		}
	}
	return n
}

// Rule is what the pairs were refused by.
func (r Report) Rule() string {
	for _, p := range r.Pairs {
		if p.Refused != "" {
			return p.Refused
		}
	}
	return ""
}

// Lost counts the echo requests without an answer.
func (r Report) Lost() int {
	n := 0
	for _, p := range r.Pairs {
		n += p.Lost
	}
	return n
}

// String is `20 pairs, 4 refused as they should, 0 failed, 0 lost`.
func (r Report) String() string {
	return fmt.Sprintf("%d pairs, %d refused as they should, %d failed, %d lost", len(r.Pairs), r.Refused(), len(r.Failed()), r.Lost())
}

// maxNamed bounds how many senders an error names.
const maxNamed = 20

// Err is nil when everything is well; else it names every problem and, a line for each sender, the pairs that did not work.
func (r Report) Err() error {
	errs := slices.Clone(r.Problems)
	failed := r.Failed()
	for named := 0; len(failed) > 0; named++ {
		if named == maxNamed {
			errs = append(errs, fmt.Errorf("and %d more pairs", len(failed)))
			break
		}
		first := failed[0]
		var to []string
		for len(failed) > 0 && failed[0].From == first.From {
			to, failed = append(to, failed[0].To), failed[1:]
		}
		errs = append(errs, fmt.Errorf("%s to %s: %w", first.From, strings.Join(to, ", "), first.Err))
	}
	return errors.Join(errs...)
}

// Check looks at everything a lab promises: agents and routers run, agents have done all they should, there is no IPv4, and all endpoints reach each other and the outside by
// ping and by HTTP. The outside reaches by HTTP what is published, and is refused by all others, unless the lab is open. report gets the
// number of pairs done.
func (l *Lab) Check(ctx context.Context, report func(done, all int)) (Report, error) {
	var r Report
	for _, h := range l.state.Hosts {
		if err := l.checkAgent(ctx, h.Name); err != nil {
			r.Problems = append(r.Problems, err)
		}
	}
	for _, m := range l.Machines() {
		if _, isHost := l.host(m); !isHost {
			if err := l.checkRouter(m); err != nil {
				r.Problems = append(r.Problems, err)
			}
		}
	}
	if ctx.Err() != nil {
		return r, fmt.Errorf("check lab %s: %w", l.name, context.Cause(ctx))
	}
	problems, err := l.checkIPv4()
	if err != nil {
		return r, err
	}
	r.Problems = append(r.Problems, problems...)
	r.Pairs, err = l.checkPairs(ctx, l.names(), report)
	return r, err
}

// everyone lists machines and endpoints.
func (l *Lab) everyone() []string {
	names := l.Machines()
	for _, e := range l.Endpoints() {
		names = append(names, e.Name)
	}
	return names
}

// checkIPv4 looks for IPv4 in every namespace: any address but 127.0.0.1 on lo, which the kernel adds by itself when lo comes
// up, and any route in the main table.
func (l *Lab) checkIPv4() ([]error, error) {
	var problems []error
	for _, name := range l.everyone() {
		if _, isEndpoint := l.state.Endpoints[name]; l.state.Internet && !isEndpoint {
			continue // hosts and the outside have it then
		}
		in, err := l.Inside(name)
		if err != nil {
			return nil, err
		}
		err = in(func() error {
			found, err := ipv4Here()
			for _, f := range found {
				problems = append(problems, fmt.Errorf("%s has IPv4: %s", name, f))
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look for IPv4 on %s: %w", name, err)
		}
	}
	return problems, nil
}

func ipv4Here() ([]string, error) {
	var found []string
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
			found = append(found, "address "+a.String())
		}
	}
	// The file shows the main table alone; the first line is the header. /proc/net would be that of the process, not of the thread.
	table, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(table)), "\n") {
		if i > 0 {
			found = append(found, "route "+line)
		}
	}
	return found, nil
}

// names are the outside and all endpoints.
func (l *Lab) names() []string {
	names := []string{topology.Outside}
	for _, e := range l.Endpoints() {
		names = append(names, e.Name)
	}
	return names
}

// checkPairs serves and asks from within this process: its sockets are opened in the namespaces of the endpoints. Those of froms ask
// everybody.
func (l *Lab) checkPairs(ctx context.Context, froms []string, report func(done, all int)) ([]Pair, error) {
	ctx, stop := context.WithCancel(ctx)
	var servers errgroup.Group
	defer func() { stop(); _ = servers.Wait() }()
	names := l.names()
	refusals, unwatch := l.watchRefusals(ctx)
	defer unwatch()
	for _, name := range names {
		in, err := l.Inside(name)
		if err != nil {
			return nil, err
		}
		listener, err := probe.Listen(in, probe.Port)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		servers.Go(func() error { return probe.Serve(ctx, listener, name) })
	}
	var mu sync.Mutex // guards pairs
	var pairs []Pair
	all := len(froms) * (len(names) - 1)
	err := each(senders, froms, func(from string) error {
		return l.checkFrom(ctx, from, names, refusals, func(p Pair) {
			mu.Lock()
			defer mu.Unlock()
			pairs = append(pairs, p)
			if report != nil {
				report(len(pairs), all)
			}
		})
	})
	slices.SortFunc(pairs, func(a, b Pair) int {
		if c := compareNames(a.From, b.From); c != 0 {
			return c
		}
		return compareNames(a.To, b.To)
	})
	return pairs, err
}

func (l *Lab) checkFrom(ctx context.Context, from string, names []string, refusals *refusals, done func(Pair)) error {
	in, err := l.Inside(from)
	if err != nil {
		return err
	}
	pinger, err := probe.NewPinger(in)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	defer pinger.Close()
	for _, to := range names {
		if to == from {
			continue
		}
		p := Pair{From: from, To: to}
		closed := from == topology.Outside && !l.state.Open
		switch {
		case closed && !l.state.isPublished(l.state.Endpoints[to]):
			p.refuse(ctx, pinger, l.Addr(to), refusals)
		case closed: // what is published is a port
			p.Err = l.checkHTTP(ctx, in, from, to)
		default:
			p.ping(pinger, l.Addr(to))
			if p.Err == nil {
				p.Err = l.checkHTTP(ctx, in, from, to)
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("check the pairs: %w", context.Cause(ctx)) // says nothing about this pair
		}
		done(p)
	}
	return nil
}

// ping ends at the first loss: what is broken is not asked three times.
func (p *Pair) ping(pinger *probe.Pinger, dst netip.Addr) {
	for i := range repeats {
		p.Sent++
		r, err := pinger.Ping(dst, probePatience)
		if err != nil {
			p.Lost++
			p.Err = fmt.Errorf("ping: %w", err)
			return
		}
		switch {
		case i == 0:
			p.First = r.RTT
		case i == 1 || r.RTT < p.RTT:
			p.RTT = r.RTT
		}
	}
}

// HTTP serves on one name of the lab for the time of one request from another.
func (l *Lab) HTTP(ctx context.Context, from, to string) (probe.Answer, error) {
	client, err1 := l.Inside(from)
	server, err2 := l.Inside(to)
	if err := errors.Join(err1, err2); err != nil {
		return probe.Answer{}, err
	}
	listener, err := probe.Listen(server, probe.Port)
	if err != nil {
		return probe.Answer{}, fmt.Errorf("%s: %w", to, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, webPatience, probe.ErrLost)
	var serving errgroup.Group
	serving.Go(func() error { return probe.Serve(ctx, listener, to) })
	a, err := probe.Get(ctx, client, netip.AddrPortFrom(l.Addr(to), probe.Port))
	cancel()
	return a, errors.Join(err, serving.Wait())
}

// webPatience is for a whole request and its answer, which need both processes to run.
const webPatience = 10 * time.Second

func (l *Lab) checkHTTP(ctx context.Context, in probe.Inside, from, to string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, webPatience, probe.ErrLost)
	defer cancel()
	a, err := probe.Get(ctx, in, netip.AddrPortFrom(l.Addr(to), probe.Port))
	switch {
	case err != nil:
		return fmt.Errorf("http: %w", err)
	case a.Name != to:
		return fmt.Errorf("http: %s answered", a.Name)
	case a.Client != l.Addr(from):
		return fmt.Errorf("http: the server saw %s, not the client's own address %s", a.Client, l.Addr(from))
	}
	return nil
}
