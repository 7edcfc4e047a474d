package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/server"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/diff"
)

// server is a running GoBGP and what it was told.
type server struct {
	bgp       *gobgp.BgpServer
	table     *table
	unwatch   context.CancelFunc
	mute      *atomic.Bool // the server's log
	asn       uint32
	routerID  netip.Addr
	spoken    map[string]session        // by address
	announced map[string]announce.Route // by prefix
	reopened  map[string]int            // how often the first session with an address began anew
	told      told
}

// session is one peer under the address it is spoken to by.
type session struct {
	peer announce.Peer
	addr netip.Addr
}

// startServer starts a server without peers.
func startServer(o Options, me announce.Speaker, t *table) (*server, error) {
	level := &slog.LevelVar{}
	level.Set(slog.LevelWarn)
	mute := &atomic.Bool{}
	log := slog.New(&serverLog{next: o.Log.Handler(), table: t, mute: mute})
	s := &server{
		mute: mute,
		bgp:  gobgp.NewBgpServer(gobgp.LoggerOption(log, level)), table: t, asn: me.ASN, routerID: me.RouterID,
		spoken: map[string]session{}, announced: map[string]announce.Route{}, reopened: map[string]int{},
	}
	ctx, unwatch := context.WithCancel(context.Background())
	s.unwatch = unwatch
	go s.bgp.Serve() // ends in stop
	port := o.Port
	if port == 0 {
		port = Port
	}
	err := s.bgp.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: me.ASN, RouterId: me.RouterID.String(), ListenPort: int32(port), ListenAddresses: []string{"::"},
	}})
	if err != nil {
		err = fmt.Errorf("speak BGP on port %d as AS %d, router id %s: %w: does another BGP daemon run on this host?", port, me.ASN, me.RouterID, err)
	}
	if err == nil {
		err = s.denyAll(ctx)
	}
	if err == nil {
		err = s.bgp.WatchEvent(ctx, t.callbacks(), watched()...)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop(false))
	}
	return s, nil
}

// denyAll lets nothing that peers say into the server's own routes: it announces what was handed to it, and nothing of others
// (RFC 8212; and a host is no transit).
func (s *server) denyAll(ctx context.Context) error {
	own := &api.Policy{Name: "own", Statements: []*api.Statement{{
		Name:       "own",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	if err := s.bgp.AddPolicy(ctx, &api.AddPolicyRequest{Policy: own}); err != nil {
		return err
	}
	return s.bgp.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT, Policies: []*api.Policy{own},
		DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
	}})
}

// is reports whether the server runs under these names.
func (s *server) is(me announce.Speaker) bool { return s.asn == me.ASN && s.routerID == me.RouterID }

// stop ends the server. A farewell tells peers to forget everything (Cease, RFC 4486); without one the connections just end,
// and peers keep the routes for the restart time.
func (s *server) stop(farewell bool) error {
	s.unwatch()
	err := s.bgp.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: !farewell})
	s.mute.Store(true)
	s.bgp.Stop() // what StopBgp leaves: the listener of BFD. That BGP itself is stopped already is its only complaint
	return err
}

// announce makes the announced routes those of want.
func (s *server) announce(want Config) (done diff.Delta[string], err error) {
	routes := make(map[string]announce.Route, len(want.Announce))
	for _, r := range want.Announce {
		routes[r.Prefix.String()] = r
	}
	delta := diff.For(routes, s.announced, announce.Route.Equal)
	names := slices.Concat(delta.Add, delta.Change)
	paths, err := pathsOf(names, routes)
	if err == nil && len(paths) > 0 {
		_, err = s.bgp.AddPath(apiutil.AddPathRequest{Paths: paths})
	}
	if err != nil {
		return done, fmt.Errorf("announce %d prefixes: %w", len(names), err)
	}
	for _, p := range names {
		s.announced[p] = routes[p]
	}
	paths, err = pathsOf(delta.Remove, s.announced)
	if err == nil && len(paths) > 0 {
		err = s.bgp.DeletePath(apiutil.DeletePathRequest{Paths: paths})
	}
	if err != nil {
		return done, fmt.Errorf("withdraw %d prefixes: %w", len(delta.Remove), err)
	}
	for _, p := range delta.Remove {
		delete(s.announced, p)
	}
	return delta, nil
}

func pathsOf(names []string, routes map[string]announce.Route) (out []*apiutil.Path, err error) {
	for _, n := range names {
		path, err := toPath(routes[n])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out = append(out, path)
	}
	return out, nil
}

// peers makes the spoken-to peers those of want. errs are by name of the peer.
func (s *server) peers(want []announce.Peer, found Neighbours) (done diff.Delta[string], errs map[string]error) {
	errs = map[string]error{}
	next := make(map[string]session, len(want))
	for _, p := range want {
		addr, err := sessionAddr(p, found)
		if err != nil {
			if addr = s.addrOf(p); !addr.IsValid() { // a session that stands needs no advertisements
				errs[p.Name] = err
				continue
			}
		}
		if other, twice := next[addr.String()]; twice {
			errs[p.Name] = fmt.Errorf("peer %s: %s is peer %s already: remove one of the two", p.Name, addr, other.peer.Name)
			continue
		}
		next[addr.String()] = session{p, addr}
	}
	if err := s.tell(tellable(next, errs)); err != nil {
		for _, n := range next {
			errs[n.peer.Name] = fmt.Errorf("peer %s: say what it is told: %w", n.peer.Name, err)
		}
		return done, errs
	}
	delta := diff.For(next, s.spoken, func(a, b session) bool { return sameSession(a.peer, b.peer) })
	for _, key := range slices.Concat(delta.Remove, delta.Change) {
		was := s.spoken[key]
		if err := s.removePeer(key, was); err != nil {
			errs[was.peer.Name] = err
		}
		if _, stays := next[key]; !stays {
			done.Remove = append(done.Remove, "peer "+was.peer.Name)
		}
	}
	for _, key := range slices.Concat(delta.Add, delta.Change) {
		if err := s.addPeer(key, next[key]); err != nil {
			errs[next[key].peer.Name] = err
			continue
		}
		done.Add = append(done.Add, "peer "+next[key].peer.Name)
	}
	return done, errs
}

// addrOf returns the address by which an unnumbered peer is spoken to now.
func (s *server) addrOf(p announce.Peer) netip.Addr {
	for _, have := range s.spoken {
		if have.peer.Name == p.Name && p.Unnumbered() && have.addr.Zone() == p.Interface {
			return have.addr
		}
	}
	return netip.Addr{}
}

func (s *server) addPeer(key string, n session) error {
	s.table.add(n.peer, n.addr) // before its first event
	if err := s.bgp.AddPeer(context.Background(), &api.AddPeerRequest{Peer: toPeer(n.peer, n.addr)}); err != nil {
		s.table.remove(n.addr)
		return fmt.Errorf("peer %s: %w", n.peer.Name, err)
	}
	s.spoken[key] = n
	return nil
}

func (s *server) removePeer(key string, was session) error {
	if err := s.bgp.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: key}); err != nil {
		return fmt.Errorf("peer %s: leave it: %w", was.peer.Name, err)
	}
	delete(s.spoken, key)
	s.table.remove(was.addr)
	return nil
}

// refuse ends the sessions with peers that offered too much. The server knows one kind of Cease for that, an administrative
// shutdown, which carries the reason as text (RFC 9003); that of RFC 4486 section 4 is reserved to its own count.
func (s *server) refuse() {
	for _, h := range s.table.overNow() {
		// A peer that is gone meanwhile needs no refusal.
		_ = s.bgp.DisablePeer(context.Background(), &api.DisablePeerRequest{
			Address: h.addr.String(), Communication: fmt.Sprintf("more than %d prefixes", h.peer.MaxPrefixes),
		})
	}
}

// forgive lets peers try again that offered too much before the given time.
func (s *server) forgive(before time.Time) {
	for _, addr := range s.table.overSince(before) {
		// A peer that is gone meanwhile needs no forgiveness.
		_ = s.bgp.EnablePeer(context.Background(), &api.EnablePeerRequest{Address: addr.String()})
	}
}

// reopen begins first sessions anew that hang half open; errs are by name of the peer. Where both ends call each other at once, GoBGP 4.8
// may keep one connection here and the other one there, against RFC 4271 section 6.8, and before a peer's first session its hold timer
// (section 8.2.2, OpenConfirm) does not run: such a session never came up. Each time it waits longer, for peers that are slow.
func (s *server) reopen(log *slog.Logger, now time.Time) map[string]error {
	errs := map[string]error{}
	for addr, since := range s.table.halfOpen() {
		key := addr.String()
		if now.Sub(since) < openTime*time.Duration(1+s.reopened[key]) {
			continue
		}
		s.reopened[key]++
		was := s.spoken[key]
		log.Warn("a BGP session hangs half open, it begins anew", "peer", was.peer.Name, "address", addr)
		if err := s.removePeer(key, was); err != nil {
			errs[was.peer.Name] = err
		} else if err := s.addPeer(key, was); err != nil {
			errs[was.peer.Name] = err
		}
	}
	return errs
}
