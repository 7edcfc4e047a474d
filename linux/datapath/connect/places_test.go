package connect

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/transport"
)

// places is the map of what connected sockets think they talk to.
func (w *world) places() *ebpf.Map {
	w.t.Helper()
	m, err := ebpf.LoadPinnedMap(w.folder.File(connectMapServicePlaces), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { m.Close() })
	return m
}

// taken lists the sockets that have a place.
func taken(t *testing.T, m *ebpf.Map) (sockets []uint64) {
	t.Helper()
	var at uint32
	place := make([]byte, m.ValueSize())
	for it := m.Iterate(); ; {
		if !it.Next(&at, &place) {
			if err := it.Err(); err != nil {
				t.Fatal(err)
			}
			return sockets
		}
		if s := binary.LittleEndian.Uint64(place); s != 0 {
			sockets = append(sockets, s)
		}
	}
}

// A socket is told the service's address for as long as it lives, and the backend's where it went there on its own. Its place is free again
// when it is closed, however its connection ended.
func TestPlaces(t *testing.T) {
	w := newWorld(t)
	w.server.tcp(three[0])
	w.reconcile(frontend(vip, transport.TCP, three[0]))
	places := w.places()
	led, direct := w.connect("tcp", vip), w.connect("tcp", three[0])
	if got := taken(t, places); len(got) != 1 {
		t.Fatalf("%d sockets have places, want the one that was led", len(got))
	}
	w.reconcile()
	w.open(t) // another agent
	if p := w.do(order{Do: "peer", Sock: led}).From; p != vip {
		t.Errorf("a socket that was led thinks it talks to %s, not %s", p, vip)
	}
	if p := w.do(order{Do: "peer", Sock: direct}).From; p != three[0] {
		t.Errorf("a socket that was not led thinks it talks to %s, not %s", p, three[0])
	}
	w.reconcile(frontend(vip, transport.TCP, three[1])) // where nobody listens
	refused := w.do(order{Do: "open", To: vip}).Sock
	if r := w.try(order{Do: "connect", Sock: refused, To: vip}); r.Err != "ECONNREFUSED" {
		t.Errorf("nobody listens: %q, want ECONNREFUSED", r.Err)
	}
	w.reconcile(frontend(vip, transport.TCP, three[0]))
	w.do(order{Do: "connect", Sock: refused, To: vip})
	if got := taken(t, places); len(got) != 2 {
		t.Errorf("%d sockets have places, want two", len(got))
	}
	for _, s := range []int{led, direct, refused} {
		w.do(order{Do: "close", Sock: s})
	}
	if got := taken(t, places); len(got) != 0 {
		t.Errorf("sockets %v have places after all were closed", got)
	}
}

// A socket whose place another one has keeps what it is told in memory of its own, and leaves the place to the other one.
func TestPlaceOfAnother(t *testing.T) {
	w := newWorld(t)
	w.server.tcp(three[0])
	w.reconcile(frontend(vip, transport.TCP, three[0]))
	places := w.places()
	place := make([]byte, places.ValueSize())
	binary.LittleEndian.PutUint64(place, 1<<62)
	for at := range places.MaxEntries() {
		if err := places.Put(at, place); err != nil {
			t.Fatal(err)
		}
	}
	s := w.connect("tcp", vip)
	for at := range places.MaxEntries() {
		have, err := places.LookupBytes(at)
		if err != nil || binary.LittleEndian.Uint64(have) != 1<<62 {
			t.Fatalf("place %d is %x, %v: it was another's", at, have, err)
		}
		if err := places.Put(at, make([]byte, places.ValueSize())); err != nil { // the other one goes
			t.Fatal(err)
		}
	}
	if p := w.do(order{Do: "peer", Sock: s}).From; p != vip {
		t.Errorf("the socket thinks it talks to %s, not %s", p, vip)
	}
	w.do(order{Do: "close", Sock: s})
}
