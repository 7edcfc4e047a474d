package nat64

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/tun"
)

// The world of the comparison: one client, whose IPv4 address both know, and a server. tayga has a mapping for it and no ports.
var (
	peerPrefix = netip.MustParsePrefix("2001:db8:64::/96")
	peerClient = netip.MustParseAddr("2001:db8:1::5")
	peerPool   = netip.MustParseAddr("198.51.100.5")
	peerSelf4  = netip.MustParseAddr("198.51.100.1")
	peerSelf6  = netip.MustParseAddr("2001:db8:1::1")
)

// device is a TUN device behind which somebody translates, seen from the kernel's side: what is sent there is read by the translator.
type device struct {
	fd    int
	index int
	seen  seen
	marks int  // packets that were the last ones
	hops  byte // that the kernel will count before and behind the device, less the one that is the host's
}

// play opens the kernel's side of a device.
func play(t *testing.T, ns *netns.NS, name string) *device {
	t.Helper()
	d := &device{index: int(index(t, ns, name)), seen: seen{17: clientUDP, 6: clientTCP, 1: clientEcho}}
	netnstest.Do(t, ns, func() (err error) {
		all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		if d.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(d.fd) })
		if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil { // nothing is lost here
			return err
		}
		return unix.Bind(d.fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: d.index})
	})
	return d
}

// through sends packets and returns what the translator made of them: it reads one after the other, so what comes before a packet that
// everybody translates is all there will be. Nothing at all came: false.
func (d *device) through(t *testing.T, packets ...[]byte) (out [][]byte, answered bool) {
	t.Helper()
	const marked = "the last one, "
	d.marks++
	mark := fmt.Sprintf("%s%08d", marked, d.marks)
	for _, p := range append(packets, udp6([]byte(mark))) {
		protocol := [2]byte{0x86, 0xdd}
		if p[0]>>4 == 4 {
			protocol = [2]byte{0x08, 0x00}
		}
		must(t, unix.Sendto(d.fd, p, 0, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(protocol[:]), Ifindex: d.index}))
	}
	for b := make([]byte, 65536); ; {
		n, from, err := netnstest.Receive(d.fd, b)
		if err != nil {
			return out, false
		}
		if l, ok := from.(*unix.SockaddrLinklayer); !ok || l.Pkttype != unix.PACKET_HOST {
			continue // what we sent
		}
		p := append([]byte(nil), b[:n]...)
		switch at := strings.Index(string(p), marked); {
		case at < 0:
			out = append(out, p)
		case string(p[at:]) == mark:
			return out, true
		}
	}
}

// wait sets how long a packet is waited for.
func (d *device) wait(t *testing.T, patience time.Duration) {
	t.Helper()
	v := unix.NsecToTimeval(int64(patience))
	must(t, unix.SetsockoptTimeval(d.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &v))
}

// await waits until the translator of a device is at work: before, packets are lost.
func (d *device) await(t *testing.T) {
	t.Helper()
	d.wait(t, 100*time.Millisecond)
	for deadline := time.Now().Add(time.Minute); ; {
		if _, ok := d.through(t); ok {
			d.wait(t, time.Minute)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody translates")
		}
	}
}

// newTayga runs Debian's tayga.
func newTayga(t *testing.T) *device {
	t.Helper()
	ns := quietNS(t)
	path, err := exec.LookPath("tayga")
	if err != nil {
		if os.Getenv("HEXAPOD_ROOT") == "1" {
			t.Fatal("tayga is missing: see test/packages.txt")
		}
		t.Skip("tayga is missing")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "tun-device tayga\nipv4-addr %s\nipv6-addr %s\nprefix %s\nmap %s %s\ndata-dir %s\n", peerSelf4, peerSelf6, peerPrefix, peerPool, peerClient, dir), 0o644))
	netnstest.Run(t, ns, path+" --mktun -c "+conf)
	netnstest.Run(t, ns, "ip link set tayga up mtu 1500")
	cmd := exec.Command(path, "-d", "-c", conf)
	netnstest.Do(t, ns, cmd.Start)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	d := play(t, ns, "tayga")
	d.await(t)
	return d
}

// newPeerOfTayga runs ours with the same addresses, and begins a flow of each protocol.
func newPeerOfTayga(t *testing.T) *device {
	t.Helper()
	ns := quietNS(t)
	file, err := tun.Open(ns, "pref64")
	must(t, err)
	grants, err := os.OpenFile(filepath.Join(t.TempDir(), "grants"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	must(t, err)
	tr := New(Files{TUN: file, Grants: grants}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	must(t, tr.Configure(Config{Prefixes: []netip.Prefix{peerPrefix}, Pool: []netip.Addr{peerPool}, Gateway: "gw", Clients: prefixes("2001:db8:1::/64"), Private: prefixes("192.0.2.0/24", "203.0.113.0/24"),
		Blocks: 2, Bindings: 1000, Self4: peerSelf4, Self6: peerSelf6, MTU6: 1500}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done); file.Close(); grants.Close() })
	d := play(t, ns, "pref64")
	d.hops = 2
	d.await(t)
	for proto, p := range map[byte][]byte{17: udp6(nil), 6: tcp6(0x02), 1: echo6(128)} {
		out, ok := d.through(t, p)
		if !ok || len(out) != 1 {
			t.Fatalf("protocol %d: %x", proto, out)
		}
		at := 20
		if proto == 1 {
			at = 24
		}
		d.seen[proto] = binary.BigEndian.Uint16(out[0][at:])
	}
	d.through(t, tcp4(d.seen, 0x12), tcp6(0x10))
	return d
}

// quietNS is a namespace whose kernel sends nothing by itself.
func quietNS(t *testing.T) *netns.NS {
	t.Helper()
	ns := netnstest.New(t)
	netnstest.Run(t, ns, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1")
	return ns
}

// TestBesideTayga puts ours beside Debian's tayga: the same packets, and what becomes of them. docs/nat64.md has a row for every difference, with the paragraph
// by which ours is right; a difference that is not there fails.
func TestBesideTayga(t *testing.T) {
	netnstest.Root(t)
	doc, err := os.ReadFile("../../docs/nat64.md")
	must(t, err)
	ours, theirs := newPeerOfTayga(t), newTayga(t)
	same := 0
	for _, c := range besideTayga() {
		t.Run(c.what, func(t *testing.T) {
			var told [2]string
			by := c.by()
			for i, d := range []*device{ours, theirs} {
				out, ok := d.through(t, c.packets(d.seen)...)
				if !ok {
					t.Fatalf("%d does not answer any more", i)
				}
				told[i] = d.told(out)
			}
			if c.what != smallest {
				told[1] = mayBeCut(told[1])
			}
			if told[0] == told[1] {
				same++
			}
			if told[0] == told[1] != (by == "") {
				t.Errorf("the paragraph is %q\nhere  %s\ntayga %s", by, told[0], told[1])
			}
			here, there := unlike(told[0], told[1])
			if row := fmt.Sprintf("| %s | %s | %s | %s |", c.what, here, there, by); by != "" && !strings.Contains(string(doc), row) {
				t.Errorf("docs/nat64.md lacks the row\n%s", row)
			}
		})
	}
	if n := len(besideTayga()); n < 40 || !strings.Contains(string(doc), fmt.Sprintf("%d packets", n)) || !strings.Contains(string(doc), fmt.Sprintf("To %d of them", same)) {
		t.Errorf("docs/nat64.md does not say that of %d packets both make the same of %d of them", n, same)
	}
}
