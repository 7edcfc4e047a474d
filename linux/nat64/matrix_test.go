package nat64

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// path is a way through a gateway: the narrowest link on either side, which neither end of a connection is at, and how packets are translated.
type path struct {
	six, four int    // MTU of the link of the gateway into each family
	way       string // see ways
	told      bool   // the translator knows the MTU of its IPv6 side; else the kernel answers what it makes too big
}

// inner is an endpoint that is one hop away from the gateway's narrow link.
var inner = netip.MustParseAddr("2001:db8:1::99")

// paths are every pair of MTUs by every way, or those of them at the corners.
func paths(all bool) (list []path) {
	if !all {
		return []path{{1280, 576, "slow", true}, {1280, 1500, "direct", false}, {9000, 576, "fast", true}, {1400, 1260, "direct", true}, {9000, 1500, "direct", true}}
	}
	for _, way := range ways {
		for _, told := range []bool{true, false} {
			for _, six := range []int{1280, 1400, 1500, 9000} {
				for _, four := range []int{576, 905, 1260, 1480, 1500} {
					list = append(list, path{six, four, way, told})
				}
			}
		}
	}
	return list
}

// TestRFC7915_4_2_TransfersOverEveryPath sends 1 MB of TCP each way over pairs of MTUs, whole and unchanged. Both ends have links of 9,000
// bytes and know nothing of what lies between. HEXAPOD_SOAK=1 does it for all pairs.
func TestRFC7915_4_2_TransfersOverEveryPath(t *testing.T) {
	for _, p := range paths(os.Getenv("HEXAPOD_SOAK") != "") {
		t.Run(fmt.Sprintf("%d,%d,%s,told=%v", p.six, p.four, p.way, p.told), func(t *testing.T) {
			c := config()
			c.MTU6 = 9000
			if p.told {
				c.MTU6 = p.six
			}
			b := newBedOf(t, p.way, c)
			far := p.lay(t, b)
			for _, upload := range []bool{true, false} {
				transfer(t, b, far, upload)
			}
			b.wantFast(t, 10)
		})
	}
}

// lay puts a router between endpoint and gateway and gives every link its MTU.
func (p path) lay(t *testing.T, b *bed) (far *netns.NS) {
	t.Helper()
	far = netnstest.New(t)
	netnstest.Run(t, far, noDAD)
	netnstest.Connect(t, netnstest.End{NS: far, Name: "eth0"}, netnstest.End{NS: b.endpoint, Name: "in1", Addrs: []netip.Prefix{netip.MustParsePrefix("2001:db8:1:1::1/64")}})
	for _, at := range []struct {
		ns    *netns.NS
		lines []string
	}{
		{b.endpoint, []string{"sysctl -qw net.ipv6.conf.all.forwarding=1", "ip link set in1 mtu 9000", fmt.Sprintf("ip link set eth0 mtu %d", p.six), "ip -6 route add " + inner.String() + " dev in1"}},
		{far, []string{"ip link set eth0 mtu 9000", "ip -6 addr add " + inner.String() + "/128 dev eth0 nodad", "ip -6 route add 2001:db8:1:1::1 dev eth0", "ip -6 route add default via 2001:db8:1:1::1"}},
		{b.gw, []string{fmt.Sprintf("ip link set in0 mtu %d", p.six), fmt.Sprintf("ip link set out0 mtu %d", p.four),
			"ip -6 route add " + inner.String() + " via " + endpointAddr.String()}},
		{b.router, []string{fmt.Sprintf("ip link set gw0 mtu %d", p.four), "ip link set srv0 mtu 9000"}},
		{b.server, []string{"ip link set eth0 mtu 9000"}},
	} {
		for _, line := range at.lines {
			netnstest.Run(t, at.ns, line)
		}
	}
	return far
}

// transfer sends 1 MB one way over a connection that the inner endpoint begins, and wants its sum at the other end.
func transfer(t *testing.T, b *bed, far *netns.NS, upload bool) {
	t.Helper()
	content := make([]byte, 1<<20)
	for i, dice := 0, rand.New(rand.NewPCG(64, 46)); i < len(content); i++ {
		content[i] = byte(dice.Uint32())
	}
	var l net.Listener
	netnstest.Do(t, b.server, func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(serverAddr, 80).String())
		return err
	})
	defer l.Close()
	var here net.Conn
	netnstest.Do(t, far, func() (err error) {
		here, err = net.DialTimeout("tcp6", six(80).String(), time.Minute)
		return err
	})
	defer here.Close()
	there, err := l.Accept()
	must(t, err)
	defer there.Close()
	from, to := here, there
	if !upload {
		from, to = there, here
	}
	for _, c := range []net.Conn{from, to} {
		must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	}
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(content)
		sent <- errors.Join(err, from.(*net.TCPConn).CloseWrite())
	}()
	sum := sha256.New()
	n, err := io.Copy(sum, to)
	if err := errors.Join(err, <-sent); err != nil || [32]byte(sum.Sum(nil)) != sha256.Sum256(content) {
		t.Errorf("upload %v: %d of %d bytes came, and not the same: %v", upload, n, len(content), err)
	}
}
