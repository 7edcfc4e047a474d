package nat64

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/gateway"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// Somebody can send from the address of a gateway that is gone: he says again what it said, and what he likes. With a key the others do not believe
// a word and go on with its flows; without one he keeps them from that for as long as he wants.
func TestLiarAtTheAddressOfAGateway(t *testing.T) {
	key := gateway.Key(bytes.Repeat([]byte{1}, gateway.KeyLen))
	for _, c := range []struct {
		name     string
		keys     []gateway.Key
		believed bool
	}{{"signed", []gateway.Key{key}, false}, {"not signed", nil, true}} {
		t.Run(c.name, func(t *testing.T) {
			const flows = 100
			f := newFabric(t, c.keys...)
			gone := members[1]
			var said [][]byte // to the first by the one that will be gone
			f.mu.Lock()
			f.heard = func(b []byte) bool {
				if netip.AddrFrom16([16]byte(b[8:])) == gone.At && netip.AddrFrom16([16]byte(b[24:])) == members[0].At && b[6] == unix.IPPROTO_UDP {
					said = append(said, b)
				}
				return false
			}
			f.mu.Unlock()
			before := f.reach(flows, syn, time.Minute)
			f.settled(flows)
			f.crash(gone)
			f.mu.Lock()
			f.heard = nil
			f.mu.Unlock()
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() { defer close(ended); f.lie(gone, said, stop) }()
			defer func() { close(stop); <-ended }()
			first := func() *gate { f.mu.Lock(); defer f.mu.Unlock(); return f.gates[members[0].At] }()
			if c.believed {
				f.await("it is taken for living after more lies than silence would allow", func([]*Together) bool {
					s := first.Status(0).Together
					return s.Doubted[gateway.WrongKey] > 30 && slices.Contains(s.Living, gone.Name)
				})
				return
			}
			f.live(2)
			f.await("every lie is counted", func([]*Together) bool {
				d := first.Status(0).Together.Doubted
				return d[gateway.Repeated] > 0 && d[gateway.Unsigned] > 0 && d[gateway.WrongKey] > 0
			})
			if after := f.reach(flows, ack, 30*time.Second); len(after) < flows*9/10 || len(before) != flows {
				t.Errorf("%d of %d flows go on beside a liar", len(after), len(before))
			}
			if list := first.Status(0).Together.Living; slices.Contains(list, gone.Name) {
				t.Errorf("%v live, says one that is lied to", list)
			}
		})
	}
}

// lie says to the first gateway, as one that is gone, what that said, and that it lives and none of its bindings is there, until it is stopped.
func (f *fabric) lie(as gateway.Member, said [][]byte, stop <-chan struct{}) {
	var liars []*gateway.Voice
	for _, key := range []gateway.Key{nil, bytes.Repeat([]byte{2}, gateway.KeyLen)} {
		v := gateway.NewVoice(as.At, 1)
		v.Know(members[:1], []gateway.Key{key})
		liars = append(liars, v)
	}
	binding := gateway.Told{Gone: true, Copy: xnat64.Copy{Protocol: 6, Endpoint: netip.AddrPortFrom(endpointOf(1), 10001), Pool: netip.AddrPortFrom(f.pool[0], 2048)}}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		for _, raw := range said[max(0, len(said)-20):] {
			f.route(raw)
		}
		for _, v := range liars {
			f.route(v.Say(members[0].At, gateway.Word{Ready: true, Bindings: []gateway.Told{binding}}))
		}
		select {
		case <-again.C:
		case <-stop:
			return
		}
	}
}

// Keys change while gateways are at work: they go on hearing each other, and no flow begins anew.
func TestKeysChangeUnderGateways(t *testing.T) {
	f := newFabric(t)
	before := f.reach(100, syn, time.Minute)
	f.settled(100)
	key := gateway.Key(bytes.Repeat([]byte{1}, gateway.KeyLen))
	for _, keys := range [][]gateway.Key{{nil, key}, {key, nil}, {key}} {
		for _, m := range members {
			f.mu.Lock()
			g := f.gates[m.At]
			f.mu.Unlock()
			c := g.config
			c.Keys = keys
			if err := g.Configure(c); err != nil {
				t.Fatal(err)
			}
		}
		f.await("all live, and say so by "+gateway.Signature(keys), func(list []*Together) bool {
			for _, g := range list {
				if len(g.Living) != len(members) || g.Words != gateway.Signature(keys) {
					return false
				}
			}
			return true
		})
	}
	after := f.reach(100, ack, 30*time.Second)
	for n, at := range before {
		if after[n] != at {
			t.Errorf("flow %d was seen by %s and is by %s", n, at, after[n])
		}
	}
}
