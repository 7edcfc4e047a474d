package datapath

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
)

// cbKnown is where a packet says that its way was known (bpf/include/forward.h).
const cbKnown = 4

// sends lets an endpoint send a packet, and returns what the program answers.
func (w *world) sends(frame []byte, link uint32) (ret int32, out skbuff, err error) {
	in := skbuff{Ifindex: link, IngressIfindex: link}
	in.CB[cbPlace] = uint32(datapath.FromEndpoint)
	n, err := w.judge.Run(&ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: in, ContextOut: &out})
	return int32(n), out, err
}

// leaves lets a packet of an endpoint be redirected.
func (w *world) leaves(frame []byte, link uint32) (out skbuff, err error) {
	ret, out, err := w.sends(frame, link)
	if err == nil && ret != actRedirect {
		err = fmt.Errorf("the packet ended as %s", datapath.Why(out.CB[cbWhy]))
	}
	return out, err
}

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
		out, err := w.leaves(frame, link)
		return out.CB[cbKnown] == 1, err
	}
	for _, tc := range []struct {
		name   string
		change func(frame []byte)
		known  bool
	}{
		{"the same", func([]byte) {}, true},
		{"another port", func(f []byte) { f[55]++ }, true},
		{"another flow label of the same eighth", func(f []byte) { f[16] ^= 1; f[17] ^= 8 }, true},
		{"another flow label", func(f []byte) { f[17]++ }, true}, // once it has been seen, for both have places
		{"another class and flow label with the same place", func(f []byte) { f[14] ^= 1; f[17] ^= 1 }, false},
		{"another protocol", func(f []byte) { f[20] = 136 }, false},
		{"another destination", func(f []byte) { f[46]++ }, false}, // with the same place among the ways
	} {
		t.Run(tc.name, func(t *testing.T) {
			first, second := plain(func([]byte) {}), plain(tc.change)
			known := 0
			netnstest.Do(t, w.ns, func() error {
				return netnstest.OnOneCPU(func() error {
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

// TestFlowsKeepTheirNextHop: where a route has two, both are used, and each flow goes by one and the same from tick to tick.
func TestFlowsKeepTheirNextHop(t *testing.T) {
	w := newWorld(t, 256)
	for _, line := range []string{
		"ip -6 addr add 3fff:8::2/64 dev up1 nodad", "ip -6 neigh add 3fff:8::1 dev up1 lladdr 02:00:00:00:99:03 nud permanent",
		"ip -6 route add 3fff:7::/64 nexthop via 3fff:9::1 dev up0 nexthop via 3fff:8::1 dev up1",
	} {
		netnstest.Run(t, w.ns, line)
	}
	g := &generator{w: w}
	link := w.state.Endpoints[generatorEndpoints[0]].Link
	type flow struct{ dst, label byte }
	chosen, used := map[flow]uint32{}, map[uint32]int{}
	netnstest.Do(t, w.ns, func() error {
		for range 20 {
			for dst := range byte(4) {
				for label := range byte(32) {
					frame := g.plain(tuple{src: generatorEndpoints[0], dst: outside, srcPort: 1, dstPort: 53, proto: 17}, link)
					frame[17], frame[53] = label, dst+1
					out, err := w.leaves(frame, link)
					if err != nil {
						return err
					}
					at, f := out.CB[cbOut], flow{dst, label}
					if before, known := chosen[f]; known && before != at {
						return fmt.Errorf("flow %v left by link %d, and by %d later", f, before, at)
					}
					chosen[f] = at
					used[at]++
				}
			}
		}
		return nil
	})
	if len(used) != 2 || used[w.links["up0"]] == 0 || used[w.links["up1"]] == 0 {
		t.Errorf("flows left by the links %v, want both uplinks", used)
	}
}

// noUplink is behind a link that is no uplink (world.make).
var noUplink = netip.MustParseAddr("3fff:a::1")

// Packets to where no uplink leads are the kernel's, also those that go the way of another one of their tick.
func TestWaysOfTheKernelAreKept(t *testing.T) {
	w := newWorld(t, 256)
	endpoint := generatorEndpoints[0]
	link := w.state.Endpoints[endpoint].Link
	frame := (&generator{w: w}).plain(tuple{src: endpoint, dst: noUplink, srcPort: 1, dstPort: 53, proto: 17}, link)
	netnstest.Do(t, w.ns, func() error {
		return netnstest.OnOneCPU(func() error {
			for range 200 {
				if ret, out, err := w.sends(frame, link); err != nil || ret != actUnspec || datapath.Why(out.CB[cbWhy]) != datapath.ToHost {
					return fmt.Errorf("it ended as %s (%d), want %s: %w", datapath.Why(out.CB[cbWhy]), ret, datapath.ToHost, err)
				}
			}
			return nil
		})
	})
}

// A translator meets packets that are left to the kernel's routes, and none that the kernel has to answer.
func TestWhatATranslatorMeets(t *testing.T) {
	w := newWorld(t, 256)
	const met = 4 // TC_ACT_STOLEN: nothing else ends so
	translator, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, met), asm.Return()}})
	must(t, err)
	defer translator.Close()
	must(t, w.maps["translate"].Put(uint32(0), translator))
	endpoint := generatorEndpoints[0]
	link := w.state.Endpoints[endpoint].Link
	for _, tc := range []struct {
		why  datapath.Why
		dst  netip.Addr
		hops byte
		ret  int32
	}{{datapath.ToHost, noUplink, 64, met}, {datapath.HopLimit, outside, 1, actUnspec}, {datapath.Remote, outside, 64, actRedirect}} {
		frame := (&generator{w: w}).plain(tuple{src: endpoint, dst: tc.dst, srcPort: 1, dstPort: 53, proto: 17}, link)
		frame[21] = tc.hops
		netnstest.Do(t, w.ns, func() error {
			ret, out, err := w.sends(frame, link)
			if ret != tc.ret || tc.ret != met && datapath.Why(out.CB[cbWhy]) != tc.why {
				t.Errorf("%s ended as %s (%d), want %d", tc.why, datapath.Why(out.CB[cbWhy]), ret, tc.ret)
			}
			return err
		})
	}
}
