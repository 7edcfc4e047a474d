// Package upstream finds the NAT64 of the network outside for a host that uses one, and follows it: its routers are listened to, its resolvers asked.
//
// What they say is judged by model/upstream. Bytes of routers are read by linux/ndp, those of resolvers by the DNS server of the host,
// which has no privileges.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/upstream"
)

// Options are what a Finder works with.
type Options struct {
	File string    // what was found is kept there for the next agent
	NS   *netns.NS // namespace of the host; nil: that of the process
	Log  *slog.Logger

	Snapshot func() desired.Snapshot
	Ask      func(context.Context, dns.DiscoverRequest) ([]dns.Discovered, error) // the DNS server of the host
	Changed  func()                                                               // the prefixes that are used are others now
}

// Want is what a host should look for.
type Want struct {
	Name    string         // of the Translation
	Given   []netip.Prefix // the prefixes as somebody wrote them: nothing is looked for
	Sources []upstream.Source
	Accept  []netip.Prefix
	Links   []string       // on which routers are listened to; none: the uplinks
	Servers []dns.Upstream // that are asked; none: those that the DNS server of the host asks
	NoDNS   bool           // this host has no DNS server that could ask
}

// Times of a Finder.
const (
	look      = time.Minute      // between looks, if nothing tells of a change
	askLimit  = 10 * time.Second // for all resolvers together
	keepDoubt = 30               // seconds for which what the agent before heard of routers counts, if nobody tells it again
	maxPast   = 16               // prefixes that were used and are remembered
)

// Finder looks for the prefixes. Open makes it; Run looks.
type Finder struct {
	options Options
	routers *ndp.Routers
	began   time.Time
	wake    chan struct{}
	answers chan asked

	mu       sync.Mutex // guards all following fields
	want     *Want      // nil: nothing is looked for
	verdicts []upstream.Verdict
	told     []netip.Prefix // that are used, as Changed was told
	past     []netip.Prefix // that were used, the newest last; those that are used are among them
	kept     []upstream.Claim
	resolved map[string]resolver // by server
	asking   upstream.Asking
	round    int            // of questions; what comes of an earlier one is out of date
	servers  []dns.Upstream // that the DNS server of the host asks
	links    []string
	deaf     error     // why routers are not heard
	unasked  error     // why resolvers are not asked
	saved    time.Time // the last time
}

// resolver is what one server said last.
type resolver struct {
	said   string
	claims []upstream.Claim
}

// question is put to all servers.
type question struct {
	servers []dns.Upstream
	round   int
}

// asked is what came of a question.
type asked struct {
	round int
	list  []dns.Discovered
	err   error
}

// Open opens a finder that looks for nothing yet.
func Open(o Options) (*Finder, error) {
	routers, err := ndp.OpenRouters(o.NS)
	if err != nil {
		return nil, err
	}
	return &Finder{options: o, routers: routers, began: time.Now(), wake: make(chan struct{}, 1), answers: make(chan asked, 1), resolved: map[string]resolver{}}, nil
}

// Close ends listening.
func (f *Finder) Close() error { return f.routers.Close() }

// errNoDNS is why resolvers are not asked.
var errNoDNS = errors.New("resolvers are not asked: the AddressPlan has no spec.dns, so this host has no DNS server that could")

// now is the clock of claims, in seconds.
func (f *Finder) now() int64 { return int64(time.Since(f.began)/time.Second) + 1 }

// at is a time by the clock of claims; a second that has begun counts.
func (f *Finder) at(t time.Time) int64 { return int64(t.Sub(f.began)/time.Second) + 2 }

// Set says what to look for; nil: nothing. What was found stays if it still may be used.
func (f *Finder) Set(want *Want) {
	defer f.Wake()
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.want
	if reflect.DeepEqual(before, want) {
		return
	}
	f.want, f.unasked = want, nil
	f.askAnew()
	switch {
	case want == nil:
		f.verdicts, f.past, f.kept = nil, nil, nil
		clear(f.resolved)
		f.save()
	case before == nil:
		f.load()
		f.judge(nil)
		f.told = upstream.Prefixes(f.verdicts) // the caller looks
	case !slices.Equal(before.Servers, want.Servers):
		clear(f.resolved) // what others said
	}
}

// Asks tells which servers the DNS server of the host asks now. Those are whom the question goes to, unless others are named: it is put anew when
// they change.
func (f *Finder) Asks(servers []dns.Upstream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Equal(f.servers, servers) {
		return
	}
	f.servers = slices.Clone(servers)
	f.askAnew()
	f.Wake()
}

// askAnew makes the question due. The caller holds mu.
func (f *Finder) askAnew() {
	f.asking = upstream.Asking{}
	f.round++
}

// Wake asks for a look: the links of the host may be others now.
func (f *Finder) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Prefixes returns the prefixes that are used, and those that were, or are.
func (f *Finder) Prefixes() (used, past []netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.want == nil || len(f.want.Given) > 0 {
		return nil, nil // those that are given stand in the configuration
	}
	return upstream.Prefixes(f.verdicts), slices.Clone(f.past)
}

// Run looks until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.routers.Run(ctx) })
	g.Go(func() error { return f.follow(ctx, g) })
	return g.Wait()
}

func (f *Finder) follow(ctx context.Context, g *errgroup.Group) error {
	busy := false // resolvers are being asked
	listen := true
	for {
		if listen {
			f.listen(ctx)
		}
		again, q := f.step()
		if q != nil && !busy {
			busy = true
			g.Go(func() error { f.ask(ctx, q); return nil })
		}
		timer := time.NewTimer(again)
		listen = false
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-f.wake:
			listen = true
		case <-timer.C:
			listen = true
		case <-f.routers.Changed():
		case a := <-f.answers:
			busy = false
			f.take(a)
		}
		timer.Stop()
	}
}

// listen listens on the links where routers of the network outside are.
func (f *Finder) listen(ctx context.Context) {
	f.mu.Lock()
	want := f.want
	f.mu.Unlock()
	links := map[string]ndp.RouterLink{}
	var names []string
	if want != nil && slices.Contains(want.Sources, upstream.RA) {
		if names = want.Links; len(names) == 0 {
			for _, u := range f.options.Snapshot().Uplinks() {
				names = append(names, u.Name)
			}
		}
		for _, name := range names {
			links[name] = ndp.RouterLink{Ask: true}
		}
	}
	_, err := f.routers.Reconcile(ctx, links)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.links = names; ctx.Err() == nil {
		f.deaf = err
	}
}

// step judges what is known now. It returns when to look again, and what to ask for if it is due.
func (f *Finder) step() (again time.Duration, q *question) {
	told := f.heard()
	f.mu.Lock()
	before := f.told
	refusals := f.judge(told)
	used, now := upstream.Prefixes(f.verdicts), f.now()
	again = look
	if next := upstream.Next(f.verdicts); next > 0 {
		again = min(again, time.Duration(max(next-now, 1))*time.Second)
	}
	if w := f.want; w != nil && len(w.Given) == 0 && slices.Contains(w.Sources, upstream.DNS) {
		switch {
		case w.NoDNS:
			f.unasked = errNoDNS
		case f.asking.Due(now):
			q = &question{w.Servers, f.round}
		default:
			again = min(again, time.Duration(max(f.asking.Next-now, 1))*time.Second)
		}
	}
	looking := f.want != nil
	changed := !slices.Equal(before, used)
	f.told = used
	if changed || len(used) > 0 && time.Since(f.saved) >= look {
		f.save()
	}
	why := f.whyNone()
	f.mu.Unlock()
	for _, v := range refusals {
		f.options.Log.Warn("a NAT64 prefix that the network outside tells is refused", "prefix", v.Prefix, "from", v.From, "why", string(v.Why))
	}
	if changed {
		if looking && len(used) == 0 {
			f.options.Log.Warn("the NAT64 of the network outside is not used any more", "before", before, "why", string(why))
		} else {
			f.options.Log.Info("NAT64 of the network outside", "prefixes", used, "before", before)
		}
		f.options.Changed()
	}
	return again, q
}

// heard are the claims of routers.
func (f *Finder) heard() (out []upstream.Claim) {
	for link, d := range f.routers.State() {
		for _, t := range d.Told {
			c := upstream.Claim{Prefix: t.Prefix, Source: upstream.RA, From: fmt.Sprintf("%s on %s", t.Router, link), Until: f.at(t.Until)}
			if t.Reserved {
				c.Broken = upstream.BadCode
			}
			out = append(out, c)
		}
	}
	return out
}

// judge brings the verdicts up to date with what routers tell, and returns refusals that are new. The caller holds mu.
func (f *Finder) judge(told []upstream.Claim) (refusals []upstream.Verdict) {
	if f.want == nil || len(f.want.Given) > 0 {
		f.verdicts = nil
		return nil
	}
	f.kept = slices.DeleteFunc(f.kept, func(c upstream.Claim) bool { // what that router says now counts, and nothing else of it
		return slices.ContainsFunc(told, func(t upstream.Claim) bool { return t.From == c.From })
	})
	claims := slices.Concat(told, f.kept)
	for _, r := range f.resolved {
		claims = append(claims, r.claims...)
	}
	before := f.verdicts
	f.verdicts = upstream.Judge(upstream.Rules{Sources: f.want.Sources, Accept: f.want.Accept, Own: own(f.options.Snapshot())}, claims, f.now())
	for _, v := range f.verdicts {
		if v.Lie() && !slices.ContainsFunc(before, func(b upstream.Verdict) bool { return b.Prefix == v.Prefix && b.Why == v.Why }) {
			refusals = append(refusals, v)
		}
	}
	for _, p := range upstream.Prefixes(f.verdicts) {
		if !slices.Contains(f.past, p) {
			f.past = append(f.past, p)
		}
	}
	f.past = f.past[max(0, len(f.past)-maxPast):]
	return refusals
}

// own are prefixes whose addresses are those of this fabric and of the host's links.
func own(s desired.Snapshot) (out []netip.Prefix) {
	add := func(p netip.Prefix) {
		if p.IsValid() && p.Addr().Is6() && !slices.Contains(out, p.Masked()) {
			out = append(out, p.Masked())
		}
	}
	add(s.Config.Fabric)
	for _, p := range slices.Concat(s.Own(), s.OnLink()) {
		add(p)
	}
	for _, h := range s.Config.Peers {
		add(h.Prefix)
		for _, a := range h.Addrs {
			add(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, p := range s.Config.Pools {
		add(p.Prefix)
	}
	for _, l := range s.Facts {
		for _, p := range l.Addrs {
			add(p)
		}
	}
	return out
}

// whyNone tells why no prefix is used; empty when one is. The caller holds mu.
func (f *Finder) whyNone() desired.Why {
	if f.want == nil || len(f.want.Given) > 0 {
		return ""
	}
	return upstream.WhyNone(f.verdicts, len(f.past) > 0)
}
