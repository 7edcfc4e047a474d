package nat64

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// TestBegunFlowsOutliveTheTranslator lets the program begin flows that no translator has seen when it is killed: the next one knows them,
// no two have one port, and no flow that begins later gets a port of theirs.
func TestBegunFlowsOutliveTheTranslator(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 1024)
	netnstest.Do(t, ns, func() error {
		g := &packets{Rand: rand.New(rand.NewPCG(3, 6)), w: w}
		first := udpOf(g, 999)
		if way, _, err := w.run(first, 0); err != nil || way != leftAlone {
			t.Fatalf("the first packet of an endpoint went way %d: %v", way, err)
		}
		taken := map[uint16]bool{}
		_, out := w.with.through(first, 0)
		taken[binary.BigEndian.Uint16(out[20:])] = true
		ports := map[uint16]uint16{}
		for port := uint16(2000); port < 3000; port++ { // beyond one block, so that the last ones are the translator's
			way, out, err := w.run(udpOf(g, port), 0)
			if err != nil {
				return err
			}
			if way == leftAlone {
				continue
			}
			mapped := binary.BigEndian.Uint16(out[20:])
			if taken[mapped] {
				t.Fatalf("port %d is given out twice", mapped)
			}
			taken[mapped], ports[port] = true, mapped
		}
		if len(ports) < 800 {
			t.Errorf("%d flows began in the program, want most of 1000", len(ports))
		}

		w.with = w.next(t)
		if n, _ := w.with.table.Len(); n != len(ports)+1 && n != len(ports) { // no store of bindings: the first one is known by its flow
			t.Errorf("%d bindings go on, want those of %d flows", n, len(ports))
		}
		for port, mapped := range ports {
			_, out := w.with.through(udpOf(g, port), 0)
			if len(out) == 0 || binary.BigEndian.Uint16(out[20:]) != mapped {
				t.Fatalf("the flow from port %d does not go on at %d", port, mapped)
			}
		}
		for port := uint16(5000); port < 5100; port++ {
			way, out, err := w.run(udpOf(g, port), 0)
			if err != nil {
				return err
			}
			if way == leftAlone {
				_, out = w.with.through(udpOf(g, port), 0)
			}
			if len(out) == 0 {
				t.Fatalf("the flow from port %d does not begin", port)
			}
			mapped := binary.BigEndian.Uint16(out[20:])
			if taken[mapped] && netip.AddrFrom4([4]byte(out[12:16])) == twinPool {
				t.Fatalf("port %d is given out once more", mapped)
			}
			taken[mapped] = true
		}
		return nil
	})
}

// TestBegunFlowsAreBounded lets a table have room for ten bindings: no more flows begin than it has room for, whoever begins them.
func TestBegunFlowsAreBounded(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 1024)
	w.most = 10
	w.with = w.next(t)
	netnstest.Do(t, ns, func() error {
		g := &packets{Rand: rand.New(rand.NewPCG(4, 6)), w: w}
		w.with.through(udpOf(g, 999), 0)
		begun := 0
		for port := uint16(2000); port < 2030; port++ {
			way, _, err := w.run(udpOf(g, port), 0)
			if err != nil {
				return err
			}
			if way != leftAlone {
				begun++
			}
		}
		if n, _ := w.with.table.Len(); begun != 9 || n != 10 {
			t.Errorf("%d flows began in the program, %d bindings are known; want 9 and 10", begun, n)
		}
		return nil
	})
}

// TestNoFlowBeginsWhileAddressesAreLeft has the program try to begin flows while a gateway gives its address up: none begins of which the next
// owner is not told. Afterwards flows begin again where the endpoint has another address.
func TestNoFlowBeginsWhileAddressesAreLeft(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 1024)
	netnstest.Do(t, ns, func() error {
		g := &packets{Rand: rand.New(rand.NewPCG(8, 6)), w: w}
		begins := func(client netip.Addr, port uint16) bool {
			way, _, err := w.run(udpFrom(g, client, port), 0)
			must(t, err)
			return way != leftAlone
		}
		w.with.through(udpOf(g, 999), 0)
		begun := map[uint16]bool{999: true}
		for port := uint16(2000); port < 2100; port++ {
			if begins(twinClients[0], port) {
				begun[port] = true
			}
		}
		if len(begun) < 50 {
			t.Fatalf("%d flows began, want most of 100", len(begun))
		}
		next := uint16(3000)
		w.with.table.Leave([]netip.Addr{twinPool}, func(c nat64.Copy) {
			delete(begun, c.Endpoint.Port())
			if next++; begins(twinClients[0], next) {
				begun[next] = true
			}
		})
		if len(begun) > 0 {
			t.Errorf("the next owner is not told of %d flows", len(begun))
		}
		w.with.blocks.Take(nat64.Pool{Addrs: []netip.Addr{netip.MustParseAddr("45.0.0.2")}})
		w.with.through(udpFrom(g, twinClients[1], 999), 0)
		if !begins(twinClients[1], 1000) {
			t.Error("no flow begins any more")
		}
		return nil
	})
}

// TestBegunFlowsTakeThePortsOfTheModel fills blocks to the last port: each flow has the port that the translator without a program gives it.
func TestBegunFlowsTakeThePortsOfTheModel(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 4096)
	netnstest.Do(t, ns, func() error {
		g := &packets{Rand: rand.New(rand.NewPCG(5, 6)), w: w}
		begun := 0
		for i := range 3 * nat64.BlockSize {
			p := udpOf(g, uint16(1024+i*17))
			way, got, err := w.run(p, 0)
			if err != nil {
				return err
			}
			if begun++; way == leftAlone {
				begun--
				_, got = w.with.through(p, 0)
			}
			_, want := w.without.through(p, 0)
			if len(got) < 24 || !bytes.Equal(got[12:24], want[12:24]) {
				t.Fatalf("flow %d (way %d): %x, want %x", i, way, got[12:24], want[12:24])
			}
		}
		if begun < 3*nat64.BlockSize*9/10 { // some find no place beside others
			t.Errorf("%d of %d flows began in the program", begun, 3*nat64.BlockSize)
		}
		return nil
	})
}

func udpOf(g *packets, port uint16) []byte { return udpFrom(g, twinClients[0], port) }

func udpFrom(g *packets, client netip.Addr, port uint16) []byte {
	l4 := make([]byte, 16)
	binary.BigEndian.PutUint16(l4, port)
	binary.BigEndian.PutUint16(l4[2:], 53)
	binary.BigEndian.PutUint16(l4[4:], 16)
	binary.BigEndian.PutUint32(l4[8:], g.Uint32())
	to := xlat.WellKnown.Embed(twinServers[0])
	binary.BigEndian.PutUint16(l4[6:], max(1, ^fold(pseudo(client, to, len(l4), 17), l4)))
	return head6(client, to, 17, 64, 0, l4)
}

// TestBegunFlowsInEveryRoom has as many endpoints as there are rooms: each has one, and begins flows in the program from then on.
func TestBegunFlowsInEveryRoom(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 1024)
	netnstest.Do(t, ns, func() error {
		g := &packets{Rand: rand.New(rand.NewPCG(7, 6)), w: w}
		for i := range twinRooms {
			client := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, 15: byte(10 + i)})
			if why, out := w.with.through(udpFrom(g, client, 1000), 0); len(out) == 0 {
				t.Fatalf("%s gets no block: %s", client, why)
			}
			way, _, err := w.run(udpFrom(g, client, 2000), 0)
			if err != nil {
				return err
			}
			if way == leftAlone {
				t.Errorf("%s begins no flow in the program", client)
			}
		}
		return nil
	})
}

// next is the half of a translator that begins where the one before was killed: it has the grants and the memory.
func (w *twin) next(t *testing.T) *half {
	t.Helper()
	blocks := nat64.NewBlocks(nat64.Pool{Addrs: []netip.Addr{twinPool}, Gateways: []string{"g"}}, "g", 4, func(nat64.Grant) {})
	for _, g := range w.with.blocks.Living() {
		blocks.Resume(g)
	}
	return w.halfWith([]xlat.Pref64{xlat.WellKnown, twinOwn}, nat64.NewFast(w.memory, w.rooms, fastSeed(twinSecret)), blocks)
}
