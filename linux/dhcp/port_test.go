package dhcp_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/dhcp"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/rtnl"
)

// RFC 8415 7.1, 7.2: a message goes to all servers on the link, from port 546 to 547, and an answer to port 546 is heard beside a
// program that owns the port. What comes from elsewhere is not.
func TestRFC8415_7_2_BesideTheOwnerOfThePort(t *testing.T) {
	host, server := netnstest.New(t), netnstest.New(t)
	netnstest.Connect(t,
		netnstest.End{NS: host, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8::1/64")}, Quiet: true},
		netnstest.End{NS: server, Name: "rt0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::99/64"), netip.MustParsePrefix("2001:db8::99/64")}, Quiet: true})
	port, err := dhcp.Open(host, "up0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	index := func(c *rtnl.Conn, name string) uint32 {
		l, ok, err := c.Link(name)
		if err != nil || !ok {
			t.Fatalf("link %s: %v", name, err)
		}
		return uint32(l.Index)
	}
	at, err := rtnl.Dial(server)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	rt0 := index(at, "rt0")

	var owner, sock int // the other client of the host, and the server
	bind := func(fd *int, number int) func() error {
		return func() (err error) {
			if *fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			return errors.Join(unix.Bind(*fd, &unix.SockaddrInet6{Port: number}),
				unix.SetsockoptTimeval(*fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
		}
	}
	netnstest.Do(t, host, bind(&owner, 546))
	defer unix.Close(owner)
	netnstest.Do(t, server, bind(&sock, 547))
	defer unix.Close(sock)
	group := &unix.IPv6Mreq{Multiaddr: netip.MustParseAddr("ff02::1:2").As16(), Interface: rt0}
	if err := unix.SetsockoptIPv6Mreq(sock, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group); err != nil {
		t.Fatal(err)
	}

	if err := port.Send([]byte("solicit")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, from, err := netnstest.Receive(sock, buf)
	if err != nil {
		t.Fatalf("the server hears nothing: %v", err)
	}
	client := from.(*unix.SockaddrInet6)
	if string(buf[:n]) != "solicit" || client.Port != 546 || netip.AddrFrom16(client.Addr).String() != "fe80::1" {
		t.Fatalf("the server hears %q from %s port %d", buf[:n], netip.AddrFrom16(client.Addr), client.Port)
	}

	say := func(to string, number int, text string) {
		t.Helper()
		addr := &unix.SockaddrInet6{Port: number, Addr: netip.MustParseAddr(to).As16()}
		if strings.HasPrefix(to, "fe80") {
			addr.ZoneId = rt0
		}
		if err := unix.Sendto(sock, []byte(text), 0, addr); err != nil {
			t.Fatal(err)
		}
	}
	say("fe80::1", 545, "another port")
	say("2001:db8::1", 546, "from beyond the link, perhaps")
	say("fe80::1", 546, "advertise")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got, err := port.Receive(ctx); err != nil || string(got) != "advertise" {
		t.Errorf("the port hears %q, %v", got, err)
	}
	for _, want := range []string{"from beyond the link, perhaps", "advertise"} { // nothing was taken from the other client
		if n, _, err := netnstest.Receive(owner, buf); err != nil || string(buf[:n]) != want {
			t.Errorf("the owner of the port hears %q, %v; want %q", buf[:n], err, want)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := port.Receive(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive with an ended context: %v", err)
	}
}

// A link may come later than its port.
func TestLinkThatComesLater(t *testing.T) {
	host, server := netnstest.New(t), netnstest.New(t)
	port, err := dhcp.Open(host, "up0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	if err := port.Send([]byte("solicit")); err == nil || !strings.Contains(err.Error(), "up0 does not exist") {
		t.Errorf("without the link: %v", err)
	}
	netnstest.Connect(t, netnstest.End{NS: host, Name: "up0", Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}, Quiet: true},
		netnstest.End{NS: server, Name: "rt0", Quiet: true})
	if err := port.Send([]byte("solicit")); err != nil {
		t.Errorf("with the link: %v", err)
	}
}
