package nat64

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"testing"
	"time"

	"hexapod.dev/model/xlat/nat64"
)

// answer has the server send a segment back on every flow.
func (f *fabric) answer(flows map[end]netip.AddrPort) {
	for n, at := range flows {
		b := make([]byte, 40)
		b[0], b[8], b[9] = 4<<4|5, 64, 6
		binary.BigEndian.PutUint16(b[2:], 40)
		src, dst := testServer.Addr().As4(), at.Addr().As4()
		copy(b[12:], src[:])
		copy(b[16:], dst[:])
		binary.BigEndian.PutUint16(b[10:], ^headerSum(b))
		binary.BigEndian.PutUint16(b[20:], testServer.Port())
		binary.BigEndian.PutUint16(b[22:], at.Port())
		binary.BigEndian.PutUint32(b[28:], uint32(n))
		b[32], b[33] = 5<<4, syn|ack
		f.route(b)
	}
}

func headerSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return uint16(s + s>>16)
}

// answered has the server answer until all answers came, and returns how many did in the end.
func (f *fabric) answered(flows map[end]netip.AddrPort, patience time.Duration) int {
	f.mu.Lock()
	clear(f.back)
	f.mu.Unlock()
	for deadline := time.Now().Add(patience); ; {
		f.mu.Lock()
		came, left := len(f.back), map[end]netip.AddrPort{}
		for n, at := range flows {
			if !f.back[n] {
				left[n] = at
			}
		}
		f.mu.Unlock()
		if len(left) == 0 || time.Now().After(deadline) {
			return came
		}
		f.answer(left)
		time.Sleep(100 * time.Millisecond) // packets go through other processes' hands; there is no event of the last one
	}
}

// twice returns a port of the pool that two gateways have given to different ends.
func (f *fabric) twice() (port netip.AddrPort, ends [2]netip.AddrPort, found bool) {
	type key struct {
		protocol uint8
		pool     netip.AddrPort
	}
	given := map[key]netip.AddrPort{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.gates {
		g.mu.Lock()
		g.table.Copies(0, 1<<20, func(c nat64.Copy) {
			k := key{c.Protocol, c.Pool}
			if before, ok := given[k]; ok && before != c.Endpoint {
				port, ends, found = c.Pool, [2]netip.AddrPort{before, c.Endpoint}, true
			}
			given[k] = c.Endpoint
		})
		g.mu.Unlock()
	}
	return port, ends, found
}

// Gateways that live and are reached, but do not hear one of them, nor it them: both sides go on with all addresses. What was there goes on, what
// begins on either side is answered, no port is given to two flows, and when they hear each other again all of it goes on by one owner.
func TestGatewaysThatLoseEachOthersWords(t *testing.T) {
	const flows, more = 600, 600
	f := newFabric(t)
	f.sticky = true
	before := f.reach(flows, syn, time.Minute)
	if len(before) != flows {
		t.Fatalf("%d of %d flows begin", len(before), flows)
	}
	f.settled(flows)
	apart := members[1].At
	f.mu.Lock()
	f.deaf = func(from, to netip.Addr) bool { return from == apart || to == apart }
	f.mu.Unlock()
	f.await("two sides", func(list []*Together) bool {
		n := 0
		for _, g := range list {
			n += len(g.Living)
		}
		return n == 1+2+2
	})
	same := func(when string, want map[end]netip.AddrPort, of int) {
		t.Helper()
		if n := f.answered(want, 30*time.Second); n != len(want) {
			t.Errorf("%s: %d of %d flows are answered", when, n, len(want))
		}
		if at, ends, found := f.twice(); found {
			t.Errorf("%s: %s is given to %s and %s", when, at, ends[0], ends[1])
		}
		if of == 0 {
			return
		}
		after := f.reach(of, ack, 30*time.Second)
		for n, at := range want {
			if after[n] != at {
				t.Fatalf("%s: flow %d was seen by %s and is by %s", when, n, at, after[n])
			}
		}
	}
	same("apart, what was there", before, flows)
	all := f.reachFrom(flows, flows+more, syn, time.Minute)
	if len(all) != more {
		t.Fatalf("%d of %d flows begin while apart", len(all), more)
	}
	maps.Copy(all, before)
	same("apart, all", all, 0)
	f.mu.Lock()
	f.deaf = nil
	f.mu.Unlock()
	f.live(3)
	same("together again", all, flows+more)
}
