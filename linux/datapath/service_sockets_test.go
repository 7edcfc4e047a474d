package datapath

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// releaseToCompare is this release, or one with a mistake in it (test/faults).
func releaseToCompare() release {
	return release{change: func(spec *ebpf.CollectionSpec) {
		if spec.Programs["judge"] == nil {
			return
		}
		if other, err := judgeToCompare(); err == nil {
			*spec = *other
		}
	}}
}

// echoIn answers on a port of an address of a namespace, by TCP and by UDP, until the test ends.
func echoIn(t *testing.T, ns *netns.NS, self netip.Addr, port uint16) {
	t.Helper()
	at := netip.AddrPortFrom(self, port).String()
	netnstest.Do(t, ns, func() error {
		l, err := net.Listen("tcp6", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_, _ = io.Copy(c, c) // ends when either side does
				}()
			}
		}()
		u, err := net.ListenPacket("udp6", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { u.Close() })
		go func() {
			for b := make([]byte, 1<<16); ; {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = u.WriteTo(b[:n], from)
			}
		}()
		return nil
	})
}

// TestServicesForRealSockets leads the packets of sockets that no hook sees. Their checksums are finished by whoever gets them, or by the link:
// test runs have none of that.
func TestServicesForRealSockets(t *testing.T) {
	b := newBench(t)
	root, err := connect.Root()
	must(t, err)
	cgroup, err := os.MkdirTemp(root, "hexapod-sockets-")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(cgroup)) })
	hooks, err := connect.Open(b.table.folder, cgroup)
	must(t, err)
	t.Cleanup(func() { must(t, connect.Detach(b.table.folder)); must(t, hooks.Close()) })
	must(t, b.table.Maps().SetServices(true))
	echoIn(t, b.pods[1].ns, b.pods[1].addr, 8080)
	echoIn(t, b.far, outside, 8080)
	vip := netip.MustParseAddr("2001:db8:a000:7::1")
	for port, backend := range map[uint16]netip.Addr{80: b.pods[1].addr, 81: outside} {
		for _, p := range []transport.Protocol{transport.TCP, transport.UDP} {
			must(t, hooks.Ensure(t.Context(), service.Frontend{Key: service.Key{Addr: vip, Port: port, Protocol: p}, Backends: []netip.AddrPort{netip.AddrPortFrom(backend, 8080)}}))
		}
	}
	seen := watchArrivals(t, b.pods[0].ns)
	asked := map[uint16]arrivals{80: watchArrivals(t, b.pods[1].ns), 81: watchArrivals(t, b.far)}
	for _, tc := range []struct {
		name, network string
		port          uint16
		size          int
	}{
		{"TCP to a neighbour", "tcp6", 80, 200_000}, {"TCP to outside", "tcp6", 81, 200_000},
		{"UDP to a neighbour", "udp6", 80, 1200}, {"UDP to outside", "udp6", 81, 1200},
		{"UDP in fragments", "udp6", 81, 5000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := bytes.Repeat([]byte("hexapod "), tc.size/8)
			netnstest.Do(t, b.pods[0].ns, func() error {
				c, err := net.DialTimeout(tc.network, fmt.Sprintf("[%s]:%d", vip, tc.port), patience)
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
					return err
				}
				if _, err := c.Write(data); err != nil {
					return err
				}
				back := make([]byte, len(data))
				if _, err := io.ReadFull(c, back); err != nil {
					return fmt.Errorf("no answer: %w", err)
				}
				if !bytes.Equal(back, data) {
					t.Error("the answer is another one")
				}
				return nil
			})
			if tc.size < 5000 || tc.network == "tcp6" {
				seen.sums(t, vip)
				asked[tc.port].sums(t, b.pods[0].addr)
			}
		})
	}
}
