package datapath

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
)

// cbKnown is where a packet says that its way was known (bpf/include/forward.h).
const cbKnown = 4

// TestWaysAreKept: what the kernel has named as next hop serves the packets of the same tick that go the same way, and no others. What
// becomes of a packet is the same, so the twin cannot tell.
func TestWaysAreKept(t *testing.T) {
	w := newWorld(t, 256)
	g := &generator{w: w}
	endpoint := generatorEndpoints[0]
	link := w.state.Endpoints[endpoint].Link
	plain := func(change func(frame []byte)) []byte {
		frame := g.plain(tuple{src: endpoint, dst: outside, srcPort: 1, dstPort: 53, proto: 17}, link)
		change(frame)
		return frame
	}
	goes := func(frame []byte) (known bool, err error) {
		in, out := skbuff{Ifindex: link, IngressIfindex: link}, skbuff{}
		in.CB[cbPlace] = uint32(datapath.FromEndpoint)
		ret, err := w.judge.Run(&ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: in, ContextOut: &out})
		if err == nil && int32(ret) != actRedirect {
			err = fmt.Errorf("the packet ended as %s", datapath.Why(out.CB[cbWhy]))
		}
		return out.CB[cbKnown] == 1, err
	}
	for _, tc := range []struct {
		name   string
		change func(frame []byte)
		known  bool
	}{
		{"the same", func([]byte) {}, true},
		{"another port", func(f []byte) { f[55]++ }, true},
		{"another flow label", func(f []byte) { f[17]++ }, false},
		{"another protocol", func(f []byte) { f[20] = 136 }, false},
		{"another destination", func(f []byte) { f[46]++ }, false}, // with the same place among the ways
	} {
		t.Run(tc.name, func(t *testing.T) {
			first, second := plain(func([]byte) {}), plain(tc.change)
			known := 0
			netnstest.Do(t, w.ns, func() error {
				return onOneCPU(func() error {
					for range 200 { // a tick may end between the two
						if _, err := goes(first); err != nil {
							return err
						}
						ok, err := goes(second)
						if err != nil {
							return err
						}
						if ok {
							known++
						}
					}
					return nil
				})
			})
			if tc.known && known == 0 || !tc.known && known > 0 {
				t.Errorf("of 200 packets %d found their way known, want some: %v", known, tc.known)
			}
		})
	}
}

// onOneCPU runs f, on a thread of its own, on one CPU: each has its own ways.
func onOneCPU(f func() error) error {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}
