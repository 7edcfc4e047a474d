package nat64

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/xlat"
)

// The bed: an endpoint, a gateway that translates at a TUN device, a router of the IPv4 Internet, a server that has no IPv6.
//
//	endpoint 2001:db8:1::5 -- gw -- router 198.19.0.2 -- server 8.8.4.4
type bed struct {
	endpoint, gw, router, server *netns.NS
	translator                   *Translator
	grants                       *os.File
	table                        *os.File
	fast                         *Fast // nil: the translator sees every packet
	config                       Config
}

// ways are how packets of known flows go: by the translator, with super-packets and, as one that an earlier release has opened, without; by the fast path and then the kernel's routes, by the fast path to the next hop,
// by the fast path where they arrive.
var ways = []string{"slow", "fast", "direct", "early", "bare"}

// eachWay runs a test on a bed of each kind.
func eachWay(t *testing.T, run func(t *testing.T, b *bed)) {
	for _, way := range ways {
		t.Run(way, func(t *testing.T) { run(t, newBedBy(t, way)) })
	}
}

var (
	endpointAddr = netip.MustParseAddr("2001:db8:1::5")
	serverAddr   = netip.MustParseAddr("8.8.4.4")
	poolAddr     = netip.MustParseAddr("45.0.0.1")
	gatewayAddr  = netip.MustParseAddr("2001:db8:1::1")
)

// noDAD lets links speak from the begin: link-local addresses, too, are unique in a bed.
const noDAD = "sysctl -qw net.ipv6.conf.default.accept_dad=0"

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func config() Config {
	return Config{Prefixes: prefixes("64:ff9b::/96"), Pool: []netip.Addr{poolAddr}, Gateway: "gw",
		Clients: prefixes("2001:db8:1::/64"), Blocks: 2, Bindings: 10_000, Self4: poolAddr, Self6: gatewayAddr, MTU6: 1500}
}

func newBed(t *testing.T) *bed { return newBedBy(t, "slow") }

func newBedBy(t *testing.T, way string) *bed { return newBedOf(t, way, config()) }

func newBedOf(t *testing.T, way string, c Config) *bed {
	t.Helper()
	b := &bed{endpoint: netnstest.New(t), gw: netnstest.New(t), router: netnstest.New(t), server: netnstest.New(t), config: c}
	for _, ns := range []*netns.NS{b.endpoint, b.gw, b.router, b.server} {
		netnstest.Run(t, ns, noDAD)
	}
	netnstest.Connect(t, netnstest.End{NS: b.endpoint, Name: "eth0", Addrs: prefixes("2001:db8:1::5/64")}, netnstest.End{NS: b.gw, Name: "in0", Addrs: prefixes("2001:db8:1::1/64")})
	netnstest.Connect(t, netnstest.End{NS: b.gw, Name: "out0"}, netnstest.End{NS: b.router, Name: "gw0"})
	netnstest.Connect(t, netnstest.End{NS: b.router, Name: "srv0"}, netnstest.End{NS: b.server, Name: "eth0"})
	open := tun.OpenHeaded
	if way == "bare" {
		open = tun.Open
	}
	file, err := open(b.gw, "pref64")
	if err != nil {
		t.Fatal(err)
	}
	for ns, lines := range map[*netns.NS][]string{
		b.endpoint: {"ip link set lo up", "ip -6 route add default via 2001:db8:1::1"},
		b.gw: {"sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1", "ip addr add 198.19.0.1/24 dev out0", "ip route add default via 198.19.0.2",
			"ip -6 route add 64:ff9b::/96 dev pref64", "ip route add 45.0.0.1/32 dev pref64"},
		b.router: {"sysctl -qw net.ipv4.ip_forward=1", "ip addr add 198.19.0.2/24 dev gw0", "ip addr add 8.8.4.1/24 dev srv0", "ip route add 45.0.0.0/24 via 198.19.0.1"},
		b.server: {"ip link set lo up", "ip addr add 8.8.4.4/24 dev eth0", "ip route add default via 8.8.4.1"},
	} {
		for _, line := range lines {
			netnstest.Run(t, ns, line)
		}
	}
	if way != "slow" && way != "bare" {
		b.fast = &Fast{ns: b.gw, loaded: unpinned(t, 256, 0)}
		must(t, b.fast.Hang("pref64"))
		must(t, b.fast.Set(c, way != "fast", true))
	}
	if way == "early" {
		b.fast.hangEarly(t, "in0", "out0")
	}
	b.begin(t, file)
	return b
}

// wantFast wants at least so many packets of each direction translated by the fast path, if there is one.
func (b *bed) wantFast(t *testing.T, packets uint64) {
	t.Helper()
	if b.fast == nil {
		return
	}
	if c, err := b.fast.Counts(); err != nil || c.To4 < packets || c.To6 < packets {
		t.Errorf("the fast path translated %+v, want %d packets of each direction: %v", c, packets, err)
	}
}

// begin runs a translator as the child does.
func (b *bed) begin(t *testing.T, tunFile *os.File) {
	t.Helper()
	dir := t.TempDir()
	var err error
	if b.grants == nil {
		if b.grants, err = os.OpenFile(filepath.Join(dir, "grants"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
			b.table, err = os.OpenFile(filepath.Join(dir, "table"), os.O_RDWR|os.O_CREATE, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	files, c := Files{TUN: tunFile, Table: b.table, Grants: b.grants}, b.config
	if b.fast != nil {
		c.Fast, c.Rooms = b.fast.Buckets(), b.fast.Rooms()
		if files.Fast, files.Rooms, err = b.fast.Memory(); err != nil {
			t.Fatal(err)
		}
	}
	b.translator = New(files, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := b.translator.Configure(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.translator.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		tunFile.Close()
	})
}

// six is the server as the endpoint knows it.
func six(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(xlat.WellKnown.Embed(serverAddr), port)
}

// listen makes a server of the IPv4 Internet that echoes.
func (b *bed) listen(t *testing.T, network string, port uint16) {
	t.Helper()
	at := netip.AddrPortFrom(serverAddr, port).String()
	netnstest.Do(t, b.server, func() error {
		if network == "udp" {
			c, err := net.ListenPacket("udp4", at)
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				for buf := make([]byte, 65536); ; {
					n, from, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					_, _ = c.WriteTo(buf[:n], from)
				}
			}()
			return nil
		}
		l, err := net.Listen("tcp4", at)
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
				go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
			}
		}()
		return nil
	})
}

func (b *bed) dial(t *testing.T, network string, port uint16) net.Conn {
	t.Helper()
	var c net.Conn
	netnstest.Do(t, b.endpoint, func() (err error) {
		c, err = net.DialTimeout(network+"6", six(port).String(), time.Minute)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends data and wants it back.
func echo(t *testing.T, c net.Conn, size int) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("hexapod."), size/8)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	var err error
	if c.LocalAddr().Network() == "udp" {
		_, err = c.Read(got)
	} else {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes do not come back: %v", size, err)
	}
}

func TestTCPAndUDPReachIPv4(t *testing.T) { eachWay(t, tcpAndUDP) }

func tcpAndUDP(t *testing.T, b *bed) {
	b.listen(t, "tcp", 80)
	b.listen(t, "udp", 53)
	echo(t, b.dial(t, "tcp", 80), 16<<20)
	arrived := b.datagrams(t)
	udp := b.dial(t, "udp", 53)
	for range 20 {
		echo(t, udp, 512)
	}
	arrived.identified(t, 20)
	b.wantFast(t, 100)
	s := b.translator.Status(10)
	if s.Bindings != 2 || s.Sessions != 1 || len(s.Endpoints) != 1 || s.Endpoints[0].Addr != endpointAddr || len(s.Blocks) != 1 {
		t.Errorf("status %+v", s)
	}
}

// S9, H4: fragments of both families cross, each way.
func TestRFC6146_3_4_UDPInFragments(t *testing.T) { eachWay(t, udpInFragments) }

func udpInFragments(t *testing.T, b *bed) {
	b.listen(t, "udp", 7)
	c := b.dial(t, "udp", 7)
	for _, size := range []int{2000, 8000, 40000} {
		echo(t, c, size)
	}
}

func TestPing(t *testing.T) { eachWay(t, ping) }

func ping(t *testing.T, b *bed) {
	to := xlat.WellKnown.Embed(serverAddr).String()
	for _, size := range []string{"8", "1400"} {
		for range 8 { // one by one: the last of several is waited for as long as others took, which is not long enough on a busy machine
			netnstest.Run(t, b.endpoint, "ping -6 -n -e 77 -c 1 -W 30 -s "+size+" "+to)
		}
	}
	b.wantFast(t, 4)
}

// The gateway is one hop, and the routers behind it are seen: H1, H2.
func TestRFC7915_5_1_TracerouteSeesOneHop(t *testing.T) { eachWay(t, oneHop) }

func oneHop(t *testing.T, b *bed) {
	b.listen(t, "udp", 33434) // so that the fast path has a flow whose hop limit ends
	echo(t, b.dial(t, "udp", 33434), 8)
	out := netnstest.Run(t, b.endpoint, "traceroute -6 -n -q 1 -w 3 "+xlat.WellKnown.Embed(serverAddr).String())
	want := []string{gatewayAddr.String(), xlat.WellKnown.Embed(netip.MustParseAddr("198.19.0.2")).String(), xlat.WellKnown.Embed(serverAddr).String()}
	lines := strings.Split(strings.TrimSpace(out), "\n")[1:]
	if len(lines) != len(want) {
		t.Fatalf("want %d hops:\n%s", len(want), out)
	}
	for i, w := range want {
		if !strings.Contains(lines[i], fmt.Sprintf("%d  %s ", i+1, w)) {
			t.Errorf("hop %d: %s, want %s", i+1, lines[i], w)
		}
	}
}

// Path MTU discovery sees through the gateway, also a link that IPv6 could not have: RFC 7915 4.2.
func TestRFC7915_4_2_PathMTU(t *testing.T) {
	for i, mtu := range []int{1400, 905, 576, 1300, 1280} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			b := newBedBy(t, ways[i])
			netnstest.Run(t, b.router, fmt.Sprintf("ip link set srv0 mtu %d", mtu))
			netnstest.Run(t, b.server, fmt.Sprintf("ip link set eth0 mtu %d", mtu))
			out := netnstest.Run(t, b.endpoint, "tracepath -6 -n "+xlat.WellKnown.Embed(serverAddr).String())
			if want := fmt.Sprintf("Resume: pmtu %d hops 3", max(mtu+20, 1280)); !strings.Contains(out, want) {
				t.Errorf("want %q:\n%s", want, out)
			}
			b.listen(t, "tcp", 80)
			echo(t, b.dial(t, "tcp", 80), 1<<20)
			b.listen(t, "udp", 7)
			echo(t, b.dial(t, "udp", 7), 4000)
		})
	}
}

// A translator that ends is followed by one that goes on: connections live, mappings are the same.
func TestTranslatorIsFollowed(t *testing.T) {
	b := newBed(t)
	b.listen(t, "tcp", 80)
	c := b.dial(t, "tcp", 80)
	echo(t, c, 80)
	before := b.translator.Entries(10)

	next := New(Files{TUN: b.translator.files.TUN, Table: b.table, Grants: reread(t, b.grants)}, b.translator.log)
	if err := next.Configure(config()); err != nil {
		t.Fatal(err)
	}
	after := next.Entries(10)
	if len(before) != 1 || len(after) != 1 || before[0].Pool != after[0].Pool {
		t.Fatalf("before %v, after %v", before, after)
	}
	b.translator.mu.Lock()
	b.translator.table = next.table
	b.translator.engine.Mapper = next.table
	b.translator.mu.Unlock()
	echo(t, c, 80)
}

// reread is the same file from its begin.
func reread(t *testing.T, f *os.File) *os.File {
	t.Helper()
	g, err := os.OpenFile(f.Name(), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// H11: a route that is more specific than the prefix wins over translation.
func TestRFC7915_4_6_NativeRouteWins(t *testing.T) {
	for _, way := range []string{"direct", "early"} {
		t.Run(way, func(t *testing.T) { nativeRouteWins(t, newBedBy(t, way)) })
	}
}

func nativeRouteWins(t *testing.T, b *bed) {
	netnstest.Run(t, b.gw, "ip -6 addr add 64:ff9b::808:404/128 dev in0 nodad") // what carries the server's address lies here itself
	netnstest.Do(t, b.gw, func() error {
		l, err := net.Listen("tcp6", six(80).String())
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	b.dial(t, "tcp", 80)
	if s := b.translator.Status(1); s.Bindings != 0 || s.Counts.To4[xlat.Translated.String()] != 0 {
		t.Errorf("the translator saw %+v", s.Counts)
	}
}
