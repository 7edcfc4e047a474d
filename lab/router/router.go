// Package router is a router of a lab that speaks Hexapod's own BGP: a ToR, a spine, or the network outside.
//
// It is the value that the plan also writes for FRR and BIRD (model/addressplan/render), brought to life: it takes from each peer
// what its list says, forwards by it, passes on what the lists of others say, and announces its aggregates over discard routes.
package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/ndp"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/addressplan/render"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// Config is one router, as its file says in JSON.
type Config struct {
	render.Router
	// Shared says that another router announces the same aggregates: the other ToR of a rack, the other spine of a fabric.
	Shared bool
	// Pref64 are prefixes for NAT64 that are told on all ports (RFC 8781); PrefOver those that are told to be over.
	Pref64, PrefOver []netip.Prefix `json:",omitempty"`
	// BFD is asked of all peers.
	BFD bool
}

// Read reads the file of a router.
func Read(file string) (Config, error) {
	var c Config
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read router file %s: %w", file, err)
	}
	return c, nil
}

// Options are what a router is started with.
type Options struct {
	File   string           // its Config
	RunDir string           // folder of the socket for questions; made if missing
	Reload <-chan os.Signal // asks to read the file again
	Log    *slog.Logger
}

// Router is one running router.
type Router struct {
	options Options
	conn    *rtnl.Conn
	sub     *rtnl.Subscription
	table   *route.Table
	fib     *route.FIB
	links   *ndp.Routers
	speaker *bgp.Speaker
	wake    chan struct{}

	mu       sync.Mutex // guards all following fields
	config   Config
	withheld []announce.Withheld
}

// Run routes until ctx ends. What it wrote into the kernel stays.
func Run(ctx context.Context, o Options) (err error) {
	r := &Router{options: o, wake: make(chan struct{}, 1)}
	if r.config, err = Read(o.File); err != nil {
		return err
	}
	if err := os.MkdirAll(o.RunDir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(); err != nil {
		return err
	}
	api, err := local.Listen(filepath.Join(o.RunDir, local.Socket))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return local.Serve(ctx, api, local.SpeakingHandler(r)) })
	g.Go(func() error { return r.links.Run(ctx) })
	g.Go(func() error { return r.speaker.Run(ctx) })
	g.Go(func() error { return r.hear(ctx) })
	g.Go(func() error { return r.watch(ctx) })
	g.Go(func() error { return r.loop(ctx) })
	return g.Wait()
}

func (r *Router) open() (err error) {
	if r.sub, err = rtnl.Subscribe(nil, rtnl.Links, rtnl.Addresses); err != nil {
		return err
	}
	if r.conn, err = rtnl.Dial(nil); err != nil {
		return err
	}
	if r.table, err = route.Open(nil, route.Protocol); err != nil {
		return err
	}
	if r.fib, err = route.OpenFIB(nil, route.Protocol); err != nil {
		return err
	}
	if r.links, err = ndp.OpenRouters(nil); err != nil {
		return err
	}
	r.speaker = bgp.New(bgp.Options{Log: r.options.Log, Neighbours: r.links})
	return nil
}

func (r *Router) close() (err error) {
	if r.sub != nil {
		err = r.sub.Close()
	}
	if r.conn != nil {
		err = errors.Join(err, r.conn.Close())
	}
	if r.table != nil {
		err = errors.Join(err, r.table.Close())
	}
	if r.fib != nil {
		err = errors.Join(err, r.fib.Close())
	}
	if r.links != nil {
		err = errors.Join(err, r.links.Close())
	}
	return err
}

// kick asks for a pass.
func (r *Router) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// hear kicks when peers say something new.
func (r *Router) hear(ctx context.Context) error {
	for {
		if _, err := r.speaker.Learned(ctx); err != nil {
			return nil // ctx ended
		}
		r.kick()
	}
}

// watch kicks when a link comes or goes.
func (r *Router) watch(ctx context.Context) error {
	for {
		_, err := r.sub.Receive(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch the links: %w", err)
		}
		r.kick()
	}
}

// again is the distance of attempts at what failed.
const again = time.Second

// loop makes passes until ctx ends, as many as there is news.
func (r *Router) loop(ctx context.Context) error {
	retry := time.NewTicker(again)
	defer retry.Stop()
	var last error
	for {
		err := r.pass(ctx)
		if err != nil && (last == nil || err.Error() != last.Error()) && ctx.Err() == nil {
			r.options.Log.Error("not all is as wanted, trying again", "error", err)
		}
		last = err
		var failed <-chan time.Time
		if err != nil {
			failed = retry.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-failed:
		case <-r.options.Reload:
			if err := r.reload(); err != nil {
				r.options.Log.Error("the file is not taken", "error", err)
			}
		}
	}
}

func (r *Router) reload() error {
	c, err := Read(r.options.File)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.config = c
	return nil
}

// pass looks at links and peers and makes kernel and speaker agree with them.
func (r *Router) pass(ctx context.Context) error {
	r.mu.Lock()
	c := r.config
	r.mu.Unlock()
	all, err := r.conn.Links()
	if err != nil {
		return err
	}
	up := map[string]bool{}
	for _, l := range all {
		up[l.Name] = l.Running
	}
	ports := map[string]ndp.RouterLink{}
	for _, p := range c.Peers {
		ports[p.Port] = ndp.RouterLink{Advertise: true, RouterPeer: true, Cable: true, Pref64: c.Pref64, Over: c.PrefOver}
	}
	_, linkErr := r.links.Reconcile(ctx, ports)

	var discard []desired.Route
	for _, p := range c.Discard {
		discard = append(discard, desired.Route{Dst: p, Discard: true})
	}
	_, discardErr := r.table.Reconcile(ctx, discard)
	taken := reached(r.speaker.Received(false), up)
	want := map[netip.Prefix][]desired.NextHop{}
	for p, t := range taken {
		want[p] = t.hops
	}
	routes, withheld := c.announced(taken)
	r.mu.Lock()
	r.withheld = withheld
	r.mu.Unlock()
	own := []netip.Prefix{}
	if c.Loopback.IsValid() {
		own = append(own, netip.PrefixFrom(c.Loopback, c.Loopback.BitLen()))
	}
	// Peers that are not found yet are no failure: the speaker tries again by itself, and the log has told.
	_, _ = r.speaker.Reconcile(ctx, bgp.Config{Speaker: c.speaker(), Announce: routes, Own: own})
	return errors.Join(linkErr, discardErr, r.forward(ctx, want))
}

// forward writes what is learned into the kernel. Until the peers have told all, what is there of before stays (RFC 4724
// section 4.1).
func (r *Router) forward(ctx context.Context, want map[netip.Prefix][]desired.NextHop) error {
	if !r.speaker.Settled() {
		return r.fib.Ensure(ctx, want)
	}
	_, err := r.fib.Reconcile(ctx, want)
	return err
}

// BGPPeers implements local.Speaking.
func (r *Router) BGPPeers() []bgp.PeerStatus { return r.speaker.Peers() }

// BGPOffers implements local.Speaking.
func (r *Router) BGPOffers(rejected bool) []bgp.Offer { return r.speaker.Received(rejected) }

// BGPSent implements local.Speaking.
func (r *Router) BGPSent() local.Sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return local.Sent{Announced: r.speaker.Announced(), Withheld: append([]announce.Withheld{}, r.withheld...)}
}

// Drain implements local.Speaking.
func (r *Router) Drain(context.Context, time.Duration, bool) error {
	return errors.New("a router of a lab is not drained: hosts are")
}
