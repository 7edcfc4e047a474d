// Package bgp speaks BGP to the routers of the fabric: it announces what it is told to, and tells what they offer and what of
// it is taken.
//
// The protocol is GoBGP's, whose types appear nowhere else. It keeps no routes to itself and passes none on: what peers offer is
// judged by model/announce and ends in the caller's hands as prefixes and next hops.
package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/diff"
	"hexapod.dev/model/prefix"
)

// Port is where routers listen (RFC 4271 section 8).
const Port = 179

// Times of a speaker.
const (
	retry      = 2 * time.Second // between attempts at what failed
	openTime   = 5 * time.Second // a session opens within, once an end has said a word
	limitRest  = 5 * time.Minute // before a peer that offered too much may try again
	settleTime = 2 * time.Minute // after the start, routes of before are kept at most so long for peers that do not come back
)

// Neighbours finds the peer on a link, by its router advertisements.
type Neighbours interface {
	// PeerOnLink returns the link-local address of the one router heard on link, without zone.
	PeerOnLink(link string) (netip.Addr, bool)
	// Changed receives a word when an answer of PeerOnLink may have changed.
	Changed() <-chan struct{}
}

// Options are what a speaker is made with.
type Options struct {
	Log        *slog.Logger
	Neighbours Neighbours // nil: peers without an address are not found
	Port       int        // where to listen; 0: Port; -1: nowhere, peers are only called
}

// Config is what a speaker should do. Without peers it does nothing and costs nothing.
type Config struct {
	announce.Speaker
	Announce []announce.Route
	Own      []netip.Prefix // what no peer may offer, beside what is announced
}

// Speaker is one BGP speaker. New makes it, Run drives it, Reconcile tells it what to do, in any order and from any goroutine.
type Speaker struct {
	options Options
	table   *table
	seen    atomic.Pointer[view]

	mu      sync.Mutex // guards all following fields
	want    Config
	running bool
	live    *server // nil: no peers, or not running
	started time.Time
	trouble map[string]string // by name of peer: why it is not spoken to
}

// New returns a speaker that has not begun.
func New(o Options) *Speaker {
	s := &Speaker{options: o, table: newTable(), trouble: map[string]string{}}
	s.publish()
	return s
}

// Run speaks until ctx ends. It then falls silent without a word: peers keep the routes for the restart time (RFC 4724), as
// they do when the process is killed. To leave for good, Reconcile without peers first.
func (s *Speaker) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running, s.started = true, time.Now()
	s.mu.Unlock()
	var found <-chan struct{}
	if s.options.Neighbours != nil {
		found = s.options.Neighbours.Changed()
	}
	again := time.NewTicker(retry)
	defer again.Stop()
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	s.attempt()
	for {
		select {
		case <-ctx.Done():
			return s.end()
		case <-found:
			s.attempt()
		case <-s.table.over:
			s.refuse()
		case <-again.C:
			s.reopen()
			if s.failed() {
				s.attempt()
			}
		case <-settled.C:
			s.table.settle()
		}
	}
}

// Reconcile makes the speaker do what want says and returns what changed: peers as "peer NAME", routes by prefix. Before Run it
// is remembered. Peers that cannot be spoken to yet are joined into the error; the speaker tries again by itself.
func (s *Speaker) Reconcile(ctx context.Context, want Config) (diff.Delta[string], error) {
	if err := ctx.Err(); err != nil {
		return diff.Delta[string]{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = want
	s.table.configure(want)
	s.publish() // what is wanted is seen before it is done
	defer s.publish()
	if !s.running {
		return diff.Delta[string]{}, nil
	}
	return s.apply()
}

// attempt applies what is wanted once more and logs what is wrong with it when that changed.
func (s *Speaker) attempt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.publish()
	before := len(s.trouble)
	if _, err := s.apply(); err != nil && before == 0 {
		s.options.Log.Warn("BGP is not as wanted yet", "error", err)
	}
}

// refuse ends the sessions with peers that offered too much.
func (s *Speaker) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		s.live.refuse()
	}
}

// reopen begins sessions anew that hang half open.
func (s *Speaker) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return
	}
	for name, err := range s.live.reopen(s.options.Log, time.Now()) {
		s.trouble[name] = err.Error() // attempt tries again
	}
}

func (s *Speaker) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.trouble) > 0 || s.table.overLimit()
}

// apply starts, changes or stops the server. The caller holds mu.
func (s *Speaker) apply() (diff.Delta[string], error) {
	clear(s.trouble)
	if s.live != nil && (len(s.want.Peers) == 0 || !s.live.is(s.want.Speaker)) {
		// Without peers it leaves for good; under another name it only comes back.
		err := s.live.stop(len(s.want.Peers) == 0)
		s.live = nil
		s.table.forget()
		if err != nil {
			return diff.Delta[string]{}, err
		}
	}
	if len(s.want.Peers) == 0 {
		return diff.Delta[string]{}, nil
	}
	if s.live == nil {
		live, err := startServer(s.options, s.want.Speaker, s.table)
		if err != nil {
			s.trouble[""] = err.Error()
			return diff.Delta[string]{}, err
		}
		s.live = live
	}
	// Routes come before peers, so that the first update a peer gets is whole: it drops what it kept of before when that ends
	// (RFC 4724 section 4.2).
	delta, err := s.live.announce(s.want)
	peers, errs := s.live.peers(s.want.Peers, s.options.Neighbours)
	delta.Add = append(delta.Add, peers.Add...)
	delta.Change = append(delta.Change, peers.Change...)
	delta.Remove = append(delta.Remove, peers.Remove...)
	joined := []error{err}
	for name, err := range errs {
		s.trouble[name] = err.Error()
		joined = append(joined, err)
	}
	s.live.forgive(time.Now().Add(-limitRest))
	return delta, errors.Join(joined...)
}

// end stops without a word.
func (s *Speaker) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if s.live == nil {
		return nil
	}
	err := s.live.stop(false)
	s.live = nil
	s.publish()
	return err
}

// own returns everything that no peer may offer.
func (c Config) own() prefix.Set {
	all := slices.Clone(c.Own)
	for _, r := range c.Announce {
		if r.Purpose == announce.PurposeHost || r.Purpose == announce.PurposeFixed {
			all = append(all, r.Prefix)
		}
	}
	return prefix.NewSet(all...)
}
