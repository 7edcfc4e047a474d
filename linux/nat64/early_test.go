package nat64

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// hangEarly hangs the program of links on them, without the datapath that brings it packets on a host.
func (f *Fast) hangEarly(t *testing.T, links ...string) {
	t.Helper()
	conn, err := rtnl.Dial(f.ns)
	must(t, err)
	defer conn.Close()
	for _, name := range links {
		l, _, err := conn.Link(name)
		must(t, err)
		must(t, conn.Do(rtnl.AddClsact(l.Index, name), rtnl.SetFilter(l.Index, name, rtnl.Ingress, f.loaded.Programs[earlyProgram].FD(), earlyProgram)))
	}
}

// TestWhatArrivesIsLeftToTheKernel: a packet of a known flow is translated where it arrives if the kernel would have brought it to the
// device, and by no other way.
func TestWhatArrivesIsLeftToTheKernel(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 256)
	w.direct = true
	w.tell(t)
	g := &packets{Rand: rand.New(rand.NewPCG(6, 6)), w: w}
	out := udpOf(g, 2000)
	_, sent := w.with.through(out, 0)
	back := answerTo(sent)
	arrives := func(p []byte) (way uint32, got []byte) {
		t.Helper()
		netnstest.Do(t, ns, func() (err error) {
			way, got, err = w.arrives(p, 0)
			return err
		})
		return way, got
	}
	for _, c := range []struct {
		name   string
		change func()
		back   func()
		want4  uint32
		want6  uint32
	}{
		{"as it is", func() {}, func() {}, direct4, direct6},
		{"others have rules for forwarding", func() { w.direct = false; w.tell(t) }, func() { w.direct = true; w.tell(t) }, leftAlone, leftAlone},
		{"others have rules for forwarding IPv4", func() { w.only6 = true; w.tell(t) }, func() { w.only6 = false; w.tell(t) }, direct4, leftAlone},
		{"routes lead elsewhere", func() {
			netnstest.Run(t, ns, "ip -6 route add 64:ff9b::808:404/128 dev way")
			netnstest.Run(t, ns, "ip route replace 45.0.0.1/32 dev way")
		}, func() {
			netnstest.Run(t, ns, "ip -6 route del 64:ff9b::808:404/128 dev way")
			netnstest.Run(t, ns, "ip route replace 45.0.0.1/32 dev far")
		}, leftAlone, leftAlone},
		{"no way on", func() {
			netnstest.Run(t, ns, "ip route add unreachable 8.8.4.4/32")
			netnstest.Run(t, ns, "ip -6 route add unreachable 2001:db8:1::5/128")
		}, func() {
			netnstest.Run(t, ns, "ip route del unreachable 8.8.4.4/32")
			netnstest.Run(t, ns, "ip -6 route del unreachable 2001:db8:1::5/128")
		}, leftAlone, leftAlone},
		{"for another machine on the link", func() { w.mac[5]++ }, func() { w.mac[5]-- }, leftAlone, leftAlone},
		{"the last hop", func() { setHops(0, out, back) }, func() { setHops(64, out, back) }, leftAlone, leftAlone},
		{"as it was", func() {}, func() {}, direct4, direct6},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change()
			defer c.back()
			if way, _ := arrives(out); way != c.want4 {
				t.Errorf("a packet of IPv6 went way %d, want %d", way, c.want4)
			}
			if way, _ := arrives(back); way != c.want6 {
				t.Errorf("a packet of IPv4 went way %d, want %d", way, c.want6)
			}
		})
	}
	_, want := w.with.through(back, 0)
	way, got := arrives(append(bytes.Clone(back), make([]byte, 9)...)) // short frames are padded
	if want = oneHopLess(want); way != direct6 || !bytes.Equal(got, want) {
		t.Errorf("a padded packet went way %d and became %x, want %x", way, got, want)
	}
}

// TestWaysOfFlowsAreKept: the next hop that the kernel has named serves the packets of a flow for a tick, with its MACs; those of another
// class, and those that do not fit there, ask anew.
func TestWaysOfFlowsAreKept(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 256)
	w.direct = true
	w.tell(t)
	netnstest.Run(t, ns, "ip neigh add 8.8.4.4 lladdr 02:00:00:00:00:44 dev way nud permanent")
	g := &packets{Rand: rand.New(rand.NewPCG(7, 6)), w: w}
	first, long := udpOf(g, 2000), udpOf(g, 2000)
	class := bytes.Clone(first)
	class[1] = 0xf0
	long = append(long, make([]byte, 1500)...)
	binary.BigEndian.PutUint16(long[4:], uint16(len(long)-40))
	binary.BigEndian.PutUint16(long[44:], uint16(len(long)-40))
	w.with.through(first, 0)
	frame := func(p []byte) []byte {
		_, head, err := sendFrame(w.early, w.arrive, w.mac, oneHopMore(bytes.Clone(p)))
		must(t, err)
		return head[:14]
	}
	known := append([]byte{2, 0, 0, 0, 0, 0x44}, append(w.mac[:], 8, 0)...)
	for name, c := range map[string]struct {
		second []byte
		kept   bool // by the way of the first; else it has noted its own in the same place
	}{"the same": {first, true}, "another class": {class, false}, "too long": {long, false}} {
		kept := 0
		netnstest.Do(t, ns, func() error {
			return netnstest.OnOneCPU(func() error {
				for range 200 { // a tick may end between the two
					frame(first)
					if bytes.Equal(frame(c.second), known) {
						kept++
					}
				}
				return nil
			})
		})
		if c.kept != (kept > 0) {
			t.Errorf("%s: %d of 200 packets went by the way of the one before, want some: %v", name, kept, c.kept)
		}
	}
}

// answerTo is an empty UDP packet of IPv4 that answers another one.
func answerTo(p []byte) []byte {
	l4 := make([]byte, 8)
	copy(l4, p[22:24])
	copy(l4[2:], p[20:22])
	binary.BigEndian.PutUint16(l4[4:], 8)
	src, dst := netip.AddrFrom4([4]byte(p[16:20])), netip.AddrFrom4([4]byte(p[12:16]))
	binary.BigEndian.PutUint16(l4[6:], ^fold(pseudo(src, dst, 8, 17), l4))
	return head4(src, dst, 17, 64, 0, 1, 0, l4)
}

func setHops(hops byte, list ...[]byte) {
	for _, p := range list {
		p[hopsAt(p)] = hops
		if p[0]>>4 == 4 {
			p[10], p[11] = 0, 0
			binary.BigEndian.PutUint16(p[10:], ^fold(p[:20]))
		}
	}
}

// TestWhatLinksBringSeesNoDevice: with the datapath's programs, packets of flows do not come as far as the translator's device, be they of an
// endpoint of this host or of another host; and do so again when the fast path is removed.
func TestWhatLinksBringSeesNoDevice(t *testing.T) {
	for _, whose := range []string{"of another host", "of an endpoint"} {
		t.Run(whose, func(t *testing.T) { seesNoDevice(t, whose == "of an endpoint") })
	}
}

func seesNoDevice(t *testing.T, endpoint bool) {
	b := newBed(t)
	run := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(run, "bpf"), unix.MNT_DETACH) }) // it is not there if the test failed before
	table, err := datapath.Open(datapath.Options{NS: b.gw, Root: filepath.Join(run, "none"), Run: run})
	must(t, err)
	defer table.Close()
	want := model.Want{Uplinks: map[string]model.LinkFlags{"out0": model.Uplink}}
	if endpoint {
		self := model.WantEndpoint{Link: "in0", MAC: macOf(t, b.endpoint, "eth0"), HostMAC: macOf(t, b.gw, "in0")}
		want.Endpoints = map[netip.Addr]model.WantEndpoint{endpointAddr: self}
		netnstest.Run(t, b.endpoint, "ip neigh replace "+gatewayAddr.String()+" dev eth0 nud permanent lladdr "+net.HardwareAddr(self.HostMAC[:]).String())
		netnstest.Run(t, b.gw, "ip neigh replace "+endpointAddr.String()+" dev in0 nud permanent lladdr "+net.HardwareAddr(self.MAC[:]).String())
	} else {
		want.Uplinks["in0"] = model.Uplink
	}
	_, err = table.Reconcile(t.Context(), want)
	must(t, err)
	must(t, table.Maps().SetFast(true))
	o := FastOptions{NS: b.gw, Root: filepath.Join(run, "none"), Run: run, Flows: 64, Rooms: 4}
	f, err := OpenFast(o)
	must(t, err)
	defer f.Close()
	must(t, f.Set(config(), true, true))
	must(t, f.early(int(index(t, b.gw, "pref64")))) // and not at the device, where packets would not be counted
	flows, rooms, err := f.Memory()
	must(t, err)
	c := config()
	c.Fast, c.Rooms = f.Buckets(), f.Rooms()
	b.translator.mu.Lock()
	b.translator.files.Fast, b.translator.files.Rooms = flows, rooms
	b.translator.mu.Unlock()
	must(t, b.translator.Configure(c))
	b.listen(t, "tcp", 80)
	crossed := func() int {
		var links []struct {
			Stats struct{ RX, TX struct{ Packets int } } `json:"stats64"`
		}
		must(t, json.Unmarshal([]byte(netnstest.Run(t, b.gw, "ip -s -j link show pref64")), &links))
		return links[0].Stats.RX.Packets + links[0].Stats.TX.Packets
	}
	conn := b.dial(t, "tcp", 80)
	echo(t, conn, 4<<20)
	if n := crossed(); n > 20 {
		t.Errorf("%d packets came to the device and from it", n)
	}
	must(t, RemoveFast(o))
	echo(t, conn, 1<<20)
	if n := crossed(); n < 60 { // super-packets of up to 64 KiB, each counted twice
		t.Errorf("after its removal %d packets came to the device and from it", n)
	}
	for _, name := range []string{flowsMap, deviceMap} {
		if _, err := os.Stat(filepath.Join(run, "bpf/hexapod/layout-1", name)); !os.IsNotExist(err) {
			t.Errorf("%s is still pinned: %v", name, err)
		}
	}
}

func macOf(t *testing.T, ns *netns.NS, name string) desired.MAC {
	t.Helper()
	conn, err := rtnl.Dial(ns)
	must(t, err)
	defer conn.Close()
	l, _, err := conn.Link(name)
	must(t, err)
	return l.MAC
}
