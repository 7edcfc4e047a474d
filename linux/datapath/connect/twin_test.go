package connect

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// twin is the decision of the hooks as a program that can be run, on the maps of Hooks.
type twin struct {
	prog  *ebpf.Program
	hooks *Hooks
	model service.Translator
	held  map[service.Key]service.Table // as the model has them
}

// twinToCompare is the program that is built in, or one with a mistake in it (test/faults).
func twinToCompare() (*ebpf.CollectionSpec, error) {
	if path := os.Getenv("HEXAPOD_TWIN_OBJECT"); path != "" {
		return ebpf.LoadCollectionSpec(path)
	}
	return loadTwin()
}

func newTwin(t *testing.T) *twin {
	t.Helper()
	f := folder(t)
	h, err := Open(f, newCgroup(t))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := twinToCompare()
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Load(spec, pin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return &twin{prog: c.Programs["service_twin"], hooks: h, held: map[service.Key]service.Table{}}
}

// set makes kernel and model lead one frontend.
func (w *twin) set(t *testing.T, f service.Frontend) {
	t.Helper()
	if err := w.hooks.Ensure(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	e := w.hooks.entries[f.Key]
	// The model makes its table from the backends alone; that its slots are those of the kernel is part of what is compared.
	prev := w.held[f.Key]
	w.held[f.Key] = service.Next(&prev, f.Backends)
	w.model.Set(f.Key, service.Entry{ID: e.id, Table: w.held[f.Key], AffinitySeconds: f.AffinitySeconds})
}

// ask puts one question to the kernel.
func (w *twin) ask(c service.Call) (service.Action, netip.AddrPort, error) {
	in := make([]byte, 14+64)
	copy(in[14:], keyBytes(c.Key))
	copy(in[14+keySize:], c.Client[:])
	binary.LittleEndian.PutUint64(in[54:], c.Socket)
	binary.LittleEndian.PutUint32(in[62:], c.Random)
	binary.LittleEndian.PutUint32(in[66:], c.Now)
	if c.Sends {
		in[70] = 1
	}
	out := make([]byte, len(in))
	code, err := w.prog.Run(&ebpf.RunOptions{Data: in, DataOut: out})
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	action := service.Action(code)
	if action != service.Translate {
		return action, netip.AddrPort{}, nil
	}
	return action, backendOf(out[14:]), nil
}

// Services come, change and go; clients of all kinds ask. The kernel and its model must not differ once.
func TestTwin(t *testing.T) {
	w := newTwin(t)
	r := rand.New(rand.NewPCG(1, 2))
	var keys []service.Key
	for i := range 12 {
		a := netip.MustParseAddr(fmt.Sprintf("2001:db8:f::%d", 1+i/3))
		if i%4 == 3 {
			a = netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i))
		}
		keys = append(keys, service.Key{Addr: a, Port: uint16(80 + i%2), Protocol: []transport.Protocol{transport.TCP, transport.UDP, transport.SCTP}[i%3]})
	}
	var pool []netip.AddrPort
	for i := range 800 {
		a := netip.MustParseAddr("2001:db8:1::").As16()
		a[14], a[15] = byte(i>>8), byte(i)
		pool = append(pool, netip.AddrPortFrom(netip.AddrFrom16(a), uint16(1+r.IntN(65535))))
	}
	counts := []int{0, 1, 2, 3, 10, 11, 40, 41, 163, 164, 800}
	change := func() {
		k := keys[r.IntN(len(keys))]
		if r.IntN(10) == 0 {
			if err := w.hooks.Remove(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			w.model.Delete(k)
			delete(w.held, k)
			return
		}
		r.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		n := counts[r.IntN(len(counts))]
		if r.IntN(3) > 0 { // most are small and change little
			n = r.IntN(5)
		}
		b := slices.Clone(pool[:n])
		if old, ok := w.hooks.Held(k); ok && len(old) > 1 && r.IntN(2) == 0 {
			b = slices.Delete(old, 0, 1)
		}
		slices.SortFunc(b, netip.AddrPort.Compare)
		f := service.Frontend{Key: k, Backends: b}
		if r.IntN(3) == 0 {
			f.AffinitySeconds = 30
		}
		w.set(t, f)
	}
	now := uint32(1000)
	seen := map[service.Action]int{}
	for step := range 60_000 {
		if step%100 == 0 {
			change()
		}
		now += uint32(r.IntN(3))
		c := service.Call{Key: keys[r.IntN(len(keys))], Socket: uint64(r.IntN(50)), Random: r.Uint32(), Now: now}
		c.Client[0] = byte(r.IntN(20))
		switch r.IntN(20) {
		case 0:
			c.Key.Port ^= 1
		case 1:
			c.Key.Addr = c.Key.Addr.Next()
		case 2:
			c.Key.Protocol = transport.TCP
		}
		c.Sends = c.Key.Protocol == transport.UDP && r.IntN(2) == 0
		want, to := w.model.Translate(c)
		have, led, err := w.ask(c)
		if err != nil {
			t.Fatal(err)
		}
		if have != want || led != to {
			t.Fatalf("step %d: %+v: the kernel says %s %s, the model %s %s", step, c, have, led, want, to)
		}
		seen[want]++
	}
	for _, a := range []service.Action{service.Pass, service.Translate, service.Refuse} {
		if seen[a] < 1000 {
			t.Errorf("only %d times %s: the test asks too little", seen[a], a)
		}
	}
}
