package bgp

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/prefix"
)

// State is that of a session (RFC 4271 section 8.2.2).
type State string

// The states of sessions. Searching comes before all others: the address of the peer is not known.
const (
	Searching   State = "searching"
	Idle        State = "idle"
	Connect     State = "connect"
	Active      State = "active"
	OpenSent    State = "opensent"
	OpenConfirm State = "openconfirm"
	Established State = "established"
)

// PeerStatus is one peer as it is now.
type PeerStatus struct {
	Name      string     `json:"name"`
	Addr      netip.Addr `json:"address,omitzero"` // with its link as zone where it is link-local
	Interface string     `json:"interface,omitempty"`
	ASN       uint32     `json:"asn"`
	State     State      `json:"state"`
	Since     time.Time  `json:"since,omitzero"`
	Received  int        `json:"received"` // prefixes
	Accepted  int        `json:"accepted"`
	Rejected  int        `json:"rejected"`
	Kept      int        `json:"kept"` // of those accepted: from before the session broke, until the peer comes back
	Sent      int        `json:"sent"`
	LastError string     `json:"lastError,omitempty"`
	Why       string     `json:"why,omitempty"` // it is not established

	Ends map[End]int `json:"ends,omitempty"` // how many sessions ended, since the start, and how
}

// End tells how a session ended.
type End string

// The ends of sessions.
const (
	EndHoldTime  End = "hold-time"         // the peer was silent for too long
	EndByPeer    End = "by-peer"           // it said so (RFC 4271 section 4.5)
	EndByHost    End = "by-host"           // this host said so: another configuration, drain, a path that BFD found dead
	EndTooMany   End = "too-many-prefixes" // likewise, because of maxPrefixes
	EndMalformed End = "malformed"         // the peer sent what is no BGP
	EndLost      End = "connection-lost"   // without a word, as when the peer restarts
)

// endOf is how a session ended in the server's words.
func endOf(r api.PeerState_DisconnectReason) End {
	switch r {
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return EndHoldTime
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED, api.PeerState_DISCONNECT_REASON_HARD_RESET:
		return EndByPeer
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT, api.PeerState_DISCONNECT_REASON_ADMIN_DOWN, api.PeerState_DISCONNECT_REASON_DECONFIGURED:
		return EndByHost
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return EndMalformed
	}
	return EndLost
}

// Peers returns all peers, by name. It waits for nobody.
func (s *Speaker) Peers() []PeerStatus {
	v := s.seen.Load()
	byName := map[string]PeerStatus{}
	for _, p := range v.peers {
		st := PeerStatus{Name: p.Name, Addr: p.Addr, Interface: p.Interface, ASN: p.ASN, State: Idle, Why: v.trouble[p.Name]}
		if p.Unnumbered() {
			st.State = Searching
		}
		st.Why = cmp.Or(st.Why, v.trouble[""])
		byName[p.Name] = st
	}
	for name, st := range s.table.peerStatus() {
		was, wanted := byName[name]
		if !wanted {
			continue
		}
		st.Why = was.Why
		if st.State == Established {
			st.Sent = len(v.announced)
		} else if st.Why == "" {
			st.Why = cmp.Or(st.LastError, "no session yet: is the router's side configured and up?")
		}
		byName[name] = st
	}
	out := make([]PeerStatus, 0, len(byName))
	for _, st := range byName {
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b PeerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (t *table) peerStatus() map[string]PeerStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]PeerStatus{}
	kept := map[*heard]int{}
	for _, list := range t.routes {
		for _, e := range list {
			if e.why == "" && (e.session != e.from.session || e.from.state != Established) {
				kept[e.from]++
			}
		}
	}
	for _, h := range t.peers {
		out[h.peer.Name] = PeerStatus{
			Name: h.peer.Name, Addr: h.addr, Interface: h.peer.Interface, ASN: h.peer.ASN, State: h.state, Since: h.since,
			Received: h.accepted + h.rejected, Accepted: h.accepted, Rejected: h.rejected, Kept: kept[h], LastError: h.lastError,
			Ends: maps.Clone(t.ends[h.peer.Name]),
		}
	}
	return out
}

// Offer is one prefix that a peer offers.
type Offer struct {
	Prefix  netip.Prefix    `json:"prefix"`
	Peer    string          `json:"peer"`
	NextHop desired.NextHop `json:"nextHop"`
	ASPath  []uint32        `json:"asPath"`
	Used    bool            `json:"used"`           // packets are sent there
	Kept    bool            `json:"kept"`           // from before the session broke
	Near    bool            `json:"near,omitempty"` // to be told to nobody else (NO_ADVERTISE, RFC 1997)
	Why     announce.Why    `json:"why,omitempty"`  // it is not taken
}

// Received returns what peers offer, sorted by prefix and peer. rejected asks for those that are not taken alone.
func (s *Speaker) Received(rejected bool) []Offer {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []Offer{}
	for p, list := range t.routes {
		used := t.hops(p)
		for _, e := range list {
			if rejected && e.why == "" {
				continue
			}
			out = append(out, Offer{
				Prefix: p, Peer: e.from.peer.Name, NextHop: e.attrs.hop, ASPath: e.attrs.path, Near: e.attrs.near, Why: e.why,
				Used: e.why == "" && slices.Contains(used, e.attrs.hop),
				Kept: e.session != e.from.session || e.from.state != Established,
			})
		}
	}
	slices.SortFunc(out, func(a, b Offer) int {
		return cmp.Or(prefix.Compare(a.Prefix, b.Prefix), cmp.Compare(a.Peer, b.Peer))
	})
	return out
}

// Announced returns what every established peer is told, sorted by prefix. It waits for nobody.
func (s *Speaker) Announced() []announce.Route {
	return slices.Concat([]announce.Route{}, s.seen.Load().announced)
}
