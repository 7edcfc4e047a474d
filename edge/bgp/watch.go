package bgp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	gobgp "github.com/osrg/gobgp/v4/pkg/server"
)

// callbacks carry the server's events into the table. They come one at a time, in the order in which things happened.
func (t *table) callbacks() gobgp.WatchEventMessageCallbacks {
	return gobgp.WatchEventMessageCallbacks{OnPathUpdate: t.onPaths, OnPathEor: t.onEnd, OnPeerUpdate: t.onPeer}
}

// watched is what the table wants to hear: what peers say before any policy, what the server withdraws for them when they
// are gone, their states, and the end of what they tell.
func watched() []gobgp.WatchOption {
	return []gobgp.WatchOption{gobgp.WatchUpdate(false, "", ""), gobgp.WatchAdjInWithdraw(), gobgp.WatchPeer(), gobgp.WatchEor(false)}
}

func (t *table) onPaths(paths []*apiutil.Path, _ time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var (
		shared *attrs // of the first path: those of one update are the same but for the prefix
		of     netip.Addr
	)
	for _, path := range paths {
		h, known := t.peers[path.PeerAddress]
		p, ok := prefixOf(path)
		switch {
		case !known || !ok:
		case path.Withdrawal:
			t.withdrawn(h, p)
		default:
			if shared == nil || of != path.PeerAddress {
				shared, of = attrsOf(path.Attrs, path.PeerAddress), path.PeerAddress
			}
			t.offered(h, p, shared)
		}
	}
}

// onEnd: the peer has told all. What it told in an earlier session and not in this one is gone (RFC 4724 section 4.2).
func (t *table) onEnd(path *apiutil.Path, _ time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, known := t.peers[path.PeerAddress]
	if !known {
		return
	}
	v6 := path.Family == bgp.RF_IPv6_UC
	if h.ended[index(v6)] {
		return
	}
	h.ended[index(v6)] = true
	if h.session > 1 {
		t.drop(func(p netip.Prefix, e entry) bool {
			return e.from == h && e.session != h.session && p.Addr().Is6() == v6
		})
	}
	if t.settled() {
		tell(t.news)
	}
}

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

func (t *table) onPeer(ev *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	if ev.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h, known := t.peers[ev.Peer.State.NeighborAddress]
	if !known {
		return
	}
	s := ev.Peer.State
	before := h.state
	h.state = stateOf(s.SessionState)
	if h.state == before {
		return
	}
	h.since = at
	if h.state == Established {
		h.session++
		h.ended = [2]bool{}
		h.overSince = time.Time{}
		h.silent, h.notified = false, !h.peer.Restart.Off && !h.peer.Restart.Silence && saysN(s.RemoteCap)
		return
	}
	if before == Established {
		how := endOf(s.DisconnectReason)
		if h.silent { // the server calls it a graceful restart
			how = EndHoldTime
		}
		t.ended(h, how)
		if h.silent && !h.notified { // the server keeps it as after a connection that broke
			t.drop(func(_ netip.Prefix, e entry) bool { return e.from == h })
		}
	}
	if h.overSince.IsZero() && (before == Established || s.DisconnectReason == api.PeerState_DISCONNECT_REASON_BAD_PEER_AS) {
		h.lastError = s.DisconnectMessage
	}
}

// saysN reports whether a peer set the N bit: it wants what it said to be kept also when it is silent (RFC 8538 section 2).
func saysN(list []bgp.ParameterCapabilityInterface) bool {
	return slices.ContainsFunc(list, func(c bgp.ParameterCapabilityInterface) bool {
		restart, ok := c.(*bgp.CapGracefulRestart)
		return ok && restart.Flags&0x04 != 0
	})
}

// holdTimeOver notes that nothing was heard of a peer for the hold time. The end of the session follows.
func (t *table) holdTimeOver(key string) {
	t.of(key, func(h *heard) { h.silent = true })
}

// of does something with a peer by the server's name for it.
func (t *table) of(key string, do func(*heard)) {
	addr, err := netip.ParseAddr(key)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.peers[addr]; ok {
		do(h)
	}
}

// ended counts the end of a session.
func (t *table) ended(h *heard, how End) {
	if !h.overSince.IsZero() {
		how = EndTooMany
	}
	if t.ends[h.peer.Name] == nil {
		t.ends[h.peer.Name] = map[End]int{}
	}
	t.ends[h.peer.Name][how]++
}

func stateOf(s bgp.FSMState) State {
	switch s {
	case bgp.BGP_FSM_CONNECT:
		return Connect
	case bgp.BGP_FSM_ACTIVE:
		return Active
	case bgp.BGP_FSM_OPENSENT:
		return OpenSent
	case bgp.BGP_FSM_OPENCONFIRM:
		return OpenConfirm
	case bgp.BGP_FSM_ESTABLISHED:
		return Established
	}
	return Idle
}

// malformed notes what the server says about messages of a peer that it could not use.
func (t *table) malformed(key, what string) {
	t.of(key, func(h *heard) { h.lastError = what })
}
