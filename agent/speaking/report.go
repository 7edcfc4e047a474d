package speaking

import (
	"fmt"
	"maps"
	"slices"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/ndp"
)

// Report tells of every peer, and of every link of unnumbered BGP.
func (m *Mouth) Report() (list []local.Object) {
	for _, p := range m.speaker.Peers() {
		o := local.Object{Kind: "bgp", Name: p.Name, State: local.Done}
		if p.State == bgp.Established {
			o.Detail = detail(p)
		} else {
			o.State, o.Why = local.Failed, string(p.State)+": "+p.Why
		}
		list = append(list, o)
	}
	return append(list, reportAdvertising(m.routers.State())...)
}

func detail(p bgp.PeerStatus) string {
	text := fmt.Sprintf("%s AS %d: taken: %d, refused: %d, sent: %d", p.Addr, p.ASN, p.Accepted, p.Rejected, p.Sent)
	if p.Kept > 0 {
		text += fmt.Sprintf(", kept of before: %d", p.Kept)
	}
	if p.LastError != "" {
		text += ", last: " + p.LastError
	}
	return text
}

// reportAdvertising tells of each link of unnumbered BGP whether this host lets itself be found there by router advertisements, and
// if it does not, why.
func reportAdvertising(links map[string]ndp.Discovery) (list []local.Object) {
	for _, name := range slices.Sorted(maps.Keys(links)) {
		l := links[name]
		o := local.Object{Kind: "advertises", Name: name, State: local.Done,
			Detail: fmt.Sprintf("lifetime 0, no prefix; %d neighbours, %d of them routers", l.Neighbours, len(l.Routers))}
		if slices.ContainsFunc(l.Routers, func(r ndp.Router) bool { return r.Lifetime > 0 }) {
			o.Detail += ", a default router among them"
		}
		switch l.Why {
		case "":
		case ndp.Listening, ndp.AskingRouter:
			o.State, o.Why = local.Pending, string(l.Why)
		default:
			o.State, o.Why = local.Failed, string(l.Why)
		}
		list = append(list, o)
	}
	return list
}
