package bgp_test

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

// slow is neighbours that take their time: whoever applies a configuration waits for them, as it waits for a server that starts.
type slow struct {
	asked chan struct{} // told of each question
	ready chan struct{} // closed when answers may come
}

func (n slow) PeerOnLink(string) (netip.Addr, bool) {
	n.asked <- struct{}{}
	<-n.ready
	return netip.Addr{}, false
}

func (slow) Changed() <-chan struct{} { return nil }

// TestReadingDoesNotWaitForAChange asks a speaker for its state while a change of it hangs.
func TestReadingDoesNotWaitForAChange(t *testing.T) {
	n := slow{make(chan struct{}, 100), make(chan struct{})}
	s := bgp.New(bgp.Options{Log: slog.New(slog.DiscardHandler), Neighbours: n, Port: -1})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	own := netip.MustParsePrefix("2001:db8:a000:c12::/64")
	want := bgp.Config{
		Speaker:  announce.Speaker{ASN: 65001, RouterID: netip.MustParseAddr("192.0.2.1"), Peers: []announce.Peer{{Name: "tor", Interface: "eth0", ASN: 65000}}},
		Announce: []announce.Route{{Prefix: own, Purpose: announce.PurposeHost}},
	}
	go func() {
		_, _ = s.Reconcile(ctx, want) // in vain: nobody is heard on the link
		ended <- nil
	}()
	<-n.asked // by Reconcile or, if that came before Run, by Run; either holds what it changes
	read := make(chan []bgp.PeerStatus)
	go func() {
		s.Announced()
		s.Received(false)
		read <- s.Peers()
	}()
	select {
	case peers := <-read:
		if len(peers) != 1 || peers[0].Name != "tor" || peers[0].State != bgp.Searching {
			t.Errorf("while the change hangs: %+v, want the peer that is wanted", peers)
		}
	case <-time.After(time.Minute):
		t.Error("a reader waits for the change")
	}
	close(n.ready)
	cancel()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
