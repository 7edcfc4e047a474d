package lab_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab"
	"hexapod.dev/lab/topology"
)

// With largeMTU a stream between endpoints of one host has packets of 64 KiB, and one that leaves the host has those that the uplink takes. A stream
// that began large goes on when it is switched off.
func TestLargeMTU(t *testing.T) {
	t.Parallel()
	f := fabric{t, up(t, lab.Options{Name: testName("large"), Size: topology.Size{Racks: 1, Hosts: 2, Endpoints: 2}})}
	const here, beside, far = "r1h1-e1", "r1h1-e2", "r1h2-e1"
	before, err := os.ReadFile(f.folder("r1h1", "etc/hosts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	hosts := strings.ReplaceAll(string(before), "clock: trusted", "clock: trusted\n  largeMTU: true")
	if err := f.Configure("hosts.yaml", []byte(hosts)); err != nil {
		t.Fatal(err)
	}
	f.linksHave(65535, here, beside, far)
	near := f.carry(here, beside)
	if mss := near.mss(); mss < 65000 {
		t.Errorf("segments of %d bytes between endpoints of one host, want about 65,475", mss)
	}
	if mss := f.carry(here, far).mss(); mss > 1440 {
		t.Errorf("segments of %d bytes to an endpoint of another host, want at most 1,440", mss)
	}
	f.tooBig(here, f.Addr(far), 1500)
	if err := f.Configure("hosts.yaml", before); err != nil {
		t.Fatal(err)
	}
	f.linksHave(1500, here, beside, far)
	near.carry()
	if mss := near.mss(); mss > 1440 {
		t.Errorf("segments of %d bytes although links have an MTU of 1,500", mss)
	}
}

// linksHave waits until the links of endpoints have an MTU, and the route to what is on the same host is there with a large one alone.
func (f fabric) linksHave(mtu int, endpoints ...string) {
	f.Helper()
	for _, e := range endpoints {
		f.eventually(fmt.Sprintf("the link of %s has an MTU of %d", e, mtu), func() bool {
			var links, routes strings.Builder
			err := f.Exec(e, []string{"ip", "link", "show", "eth0"}, lab.Streams{Out: &links, Err: &links})
			if err == nil {
				err = f.Exec(e, []string{"ip", "-6", "route", "show", netip.PrefixFrom(f.Addr(e), 64).Masked().String()}, lab.Streams{Out: &routes, Err: &routes})
			}
			return err == nil && strings.Contains(links.String(), fmt.Sprintf("mtu %d ", mtu)) && (routes.Len() > 0) == (mtu > 1500)
		})
	}
}

// carried is a TCP connection between two endpoints, both ends of it.
type carried struct {
	fabric
	client, server net.Conn
}

// carry opens a connection and lets it carry something.
func (f fabric) carry(from, to string) *carried {
	f.Helper()
	c := &carried{fabric: f}
	listen, err := f.Inside(to)
	if err != nil {
		f.Fatal(err)
	}
	var l net.Listener
	if err := listen(func() (err error) { l, err = net.Listen("tcp6", "[::]:0"); return err }); err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	dial, err := f.Inside(from)
	if err != nil {
		f.Fatal(err)
	}
	err = dial(func() (err error) {
		server := netip.AddrPortFrom(f.Addr(to), uint16(l.Addr().(*net.TCPAddr).Port))
		c.client, err = (&net.Dialer{Deadline: time.Now().Add(bound)}).Dial("tcp6", server.String())
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.client.Close() })
	if c.server, err = l.Accept(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.server.Close() })
	c.carry()
	return c
}

// carry sends a million bytes.
func (c *carried) carry() {
	c.Helper()
	sent := bytes.Repeat([]byte("hexapod "), 1<<17)
	wrong := make(chan error, 1)
	go func() {
		_, err := c.client.Write(sent)
		wrong <- err
	}()
	got := make([]byte, len(sent))
	if err := c.server.SetReadDeadline(time.Now().Add(bound)); err != nil {
		c.Fatal(err)
	}
	if _, err := io.ReadFull(c.server, got); err != nil {
		c.Fatal(err)
	}
	if err := <-wrong; err != nil {
		c.Fatal(err)
	}
	if !bytes.Equal(sent, got) {
		c.Error("what came is not what was sent")
	}
}

// mss is how large the segments of the client are.
func (c *carried) mss() (size int) {
	c.Helper()
	raw, err := c.client.(*net.TCPConn).SyscallConn()
	if err != nil {
		c.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			c.Error(err)
			return
		}
		size = int(info.Snd_mss)
	})
	if err != nil {
		c.Fatal(err)
	}
	return size
}

// tooBig sends datagrams past the MTU of the endpoint's default route until somebody tells what the path takes (RFC 8201).
func (f fabric) tooBig(from string, to netip.Addr, want int) {
	f.Helper()
	f.exec(from, "ip", "-6", "route", "add", to.String()+"/128", "via", "fe80::1", "dev", "eth0")
	in, err := f.Inside(from)
	if err != nil {
		f.Fatal(err)
	}
	fd := -1
	err = in(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: 9, Addr: to.As16()}); err != nil {
		f.Fatal(err)
	}
	have := 0
	f.eventually(fmt.Sprintf("the endpoint is told that the path takes %d bytes", want), func() bool {
		_ = unix.Send(fd, make([]byte, 9000), 0) // refused as soon as it knows
		have, err = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU)
		return err == nil && have == want
	})
}
