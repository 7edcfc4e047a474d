package bgp

import (
	"fmt"
	"net/netip"
	"reflect"

	"github.com/osrg/gobgp/v4/api"

	"hexapod.dev/model/announce"
)

// deferral is how long a speaker that comes back waits for its peers before it announces, in seconds (RFC 4724 section 4.1,
// Selection_Deferral_Timer). What this one announces follows from nothing that peers say, so it need not wait.
const deferral = 1

// sessionAddr is what the server knows a peer by: an address, with the link as its zone where it is link-local.
func sessionAddr(p announce.Peer, found Neighbours) (netip.Addr, error) {
	switch {
	case !p.Unnumbered() && p.Addr.IsLinkLocalUnicast():
		return p.Addr.WithZone(p.Interface), nil
	case !p.Unnumbered():
		return p.Addr, nil
	case found == nil:
		return netip.Addr{}, fmt.Errorf("peer %s: nobody listens for router advertisements on %s: give the peer an address", p.Name, p.Interface)
	}
	a, ok := found.PeerOnLink(p.Interface)
	if !ok {
		return netip.Addr{}, fmt.Errorf("peer %s: no router advertisement is heard on %s: let the router send them (lifetime 0 is enough)", p.Name, p.Interface)
	}
	return a.WithZone(p.Interface), nil
}

// sameSession reports whether a session with a can go on under b. What a peer may give is judged outside of the session.
func sameSession(a, b announce.Peer) bool {
	a.Terms, b.Terms = announce.Terms{}, announce.Terms{}
	a.Communities, b.Communities = nil, nil // a policy of the server, like all it is told
	a.Large, b.Large = nil, nil
	a.Tell, b.Tell = nil, nil
	return reflect.DeepEqual(a, b)
}

// toPeer writes a peer in the server's words.
func toPeer(p announce.Peer, addr netip.Addr) *api.Peer {
	out := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: addr.String(), PeerAsn: p.ASN, LocalAsn: p.LocalASN, AuthPassword: p.Password, Description: p.Name,
			// Loops are judged with everything else (announce.WhyLoop); here they would vanish without a reason.
			AllowOwnAsn: 10,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: 1, IdleHoldTimeAfterReset: 1,
			HoldTime: uint64(p.HoldSeconds), KeepaliveInterval: uint64(p.KeepaliveSeconds),
		}},
		Transport: &api.Transport{PassiveMode: p.Passive},
		AfiSafis:  []*api.AfiSafi{family(api.Family_AFI_IP6, p), family(api.Family_AFI_IP, p)},
	}
	if !p.Restart.Off {
		out.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: p.Restart.Seconds, DeferralTime: deferral, NotificationEnabled: !p.Restart.Silence,
			// The kernel forwards whether the speaker runs or not: what peers kept of before is still good (RFC 4724 section 3, F bit).
			LocalRestarting: true,
		}
	}
	if p.GTSM {
		out.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if p.BFD != nil {
		out.Bfd = &api.BfdPeerConfig{
			Enabled: true, DetectionMultiplier: p.BFD.Multiplier,
			DesiredMinimumTxInterval: p.BFD.IntervalMillis * 1000, RequiredMinimumReceive: p.BFD.IntervalMillis * 1000,
		}
	}
	return out
}

// family: IPv4 routes travel with IPv6 next hops (RFC 8950). The limit of prefixes is the table's (table.offered): the server
// would count all it has at each update, which takes most of the time of a large feed.
func family(afi api.Family_Afi, p announce.Peer) *api.AfiSafi {
	f := &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}
	return &api.AfiSafi{
		Config:            &api.AfiSafiConfig{Family: f, Enabled: true},
		MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: !p.Restart.Off}},
	}
}
