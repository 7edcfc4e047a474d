package datapath

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// Sockets send many datagrams as one super-packet (UDP_SEGMENT): the DNS server of a host does, and the translator. Whole ones pass
// by every way, and arrive as the datagrams that they are.
func TestSuperPacketsOfUDP(t *testing.T) {
	b := newBench(t)
	for _, fast := range []bool{true, false} {
		must(t, b.table.Maps().SetFast(fast))
		for name, at := range map[string]struct {
			ns   *netns.NS
			addr netip.Addr
		}{"an endpoint": {b.pods[1].ns, b.pods[1].addr}, "the host": {b.ns, netip.MustParseAddr("3fff:9::1")}, "outside": {b.far, netip.MustParseAddr("3fff:7::1")}} {
			var server, client *net.UDPConn
			netnstest.Do(t, at.ns, func() (err error) {
				server, err = net.ListenUDP("udp6", &net.UDPAddr{IP: at.addr.AsSlice()})
				return err
			})
			netnstest.Do(t, b.pods[0].ns, func() (err error) {
				client, err = net.DialUDP("udp6", nil, server.LocalAddr().(*net.UDPAddr))
				return err
			})
			talk(t, name, client, server)
			must(t, errors.Join(client.Close(), server.Close()))
		}
	}
}

// talk sends a super-packet each way, and wants its datagrams.
func talk(t *testing.T, name string, client, server *net.UDPConn) {
	t.Helper()
	const segment, count = 200, 40
	data := make([]byte, (count-1)*segment+7)
	for i := range data {
		data[i] = byte(i / segment)
	}
	for _, c := range []*net.UDPConn{client, server} {
		must(t, c.SetDeadline(time.Now().Add(time.Minute)))
		raw, err := c.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment)) }))
	}
	var from netip.AddrPort
	for _, way := range []struct {
		send func() (int, error)
		read func(b []byte) (int, error)
	}{
		{func() (int, error) { return client.Write(data) }, func(b []byte) (n int, err error) { n, from, err = server.ReadFromUDPAddrPort(b); return n, err }},
		{func() (int, error) { return server.WriteToUDPAddrPort(data, from) }, client.Read},
	} {
		_, err := way.send()
		must(t, err)
		b := make([]byte, 2048)
		for i := range count {
			n, err := way.read(b)
			if want := data[i*segment : min(len(data), (i+1)*segment)]; err != nil || !bytes.Equal(b[:n], want) {
				t.Fatalf("%s: datagram %d has %d bytes, want %d: %v", name, i, n, len(want), err)
			}
		}
	}
}
