package nat64

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/xlat"
)

// rowServer is where packets of the tests of rows go, in the family they are sent in.
var rowServer = map[bool]netip.Addr{false: netip.MustParseAddr("8.8.4.4"), true: netip.MustParseAddr("2001:db8:2::4")}

// rowPackets are translated packets as they come one behind the other: runs of datagrams of a flow, and all that ends a run.
func rowPackets(seed uint64, count int) (list [][]byte) {
	g := &packets{Rand: rand.New(rand.NewPCG(seed, 17))}
	id := uint16(65500) // it wraps
	for len(list) < count {
		isSix, port, size, class, hops, offset := g.IntN(2) == 0, uint16(1000+g.IntN(2)), 1+g.IntN(1300), byte(g.IntN(10)/9), byte(64), uint16(0)
		for range 1 + g.IntN(80) {
			if g.IntN(20) == 0 { // the last of a row
				size = 1 + g.IntN(size)
			}
			l4 := make([]byte, 8+size)
			for i := range l4[8:] {
				l4[8+i] = byte(g.Uint32())
			}
			protocol := byte(17)
			switch g.IntN(60) {
			case 0:
				hops--
			case 1:
				offset ^= 0x2000 // fragments
			case 2:
				id++
			case 3:
				protocol = 253
			case 4:
				l4 = l4[:8]
			}
			p := rowPacket(isSix, protocol, hops, class, id, offset, port, l4)
			id++
			if at, _ := upperOf(p); g.IntN(60) == 0 {
				p[at+6] ^= 1 // and wrong it stays
			}
			list = append(list, p)
		}
	}
	return list[:count]
}

// rowPacket is a packet with the data behind the 8 bytes of a header.
func rowPacket(isSix bool, protocol, hops, class byte, id, offset, port uint16, l4 []byte) []byte {
	binary.BigEndian.PutUint16(l4, 53)
	binary.BigEndian.PutUint16(l4[2:], port)
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	p := head4(twinPool, rowServer[false], protocol, hops, class, id, offset, l4)
	if isSix {
		p = head6(twinClients[0], rowServer[true], protocol, hops, uint32(class)<<20, l4)
	}
	at, _ := upperOf(p)
	binary.BigEndian.PutUint16(p[at+6:], xlat.PseudoSum(p, at, unix.IPPROTO_UDP))
	undone{flags: needsChecksum, start: uint16(at), at: 6}.settle(p)
	return p
}

// Datagrams that are written as one are parted by the kernel into the very packets that they were: whether a device behind the kernel's routes
// sees them one by one or not, it sees the same bytes in the same order.
func TestRowsLeaveAsTheSamePackets(t *testing.T) {
	netnstest.Root(t)
	ns := netnstest.New(t)
	netnstest.Run(t, ns, noDAD)
	in, err := tun.OpenHeaded(ns, "in")
	must(t, err)
	defer in.Close()
	out, err := tun.Open(ns, "out") // it takes no super-packets
	must(t, err)
	defer out.Close()
	for _, line := range []string{"sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1", "ip link set out mtu 1500",
		"ip route add 8.8.4.4/32 dev out", "ip -6 route add 2001:db8:2::/64 dev out", "ip -6 route add 2001:db8::/32 dev in", "ip route add default dev in"} {
		netnstest.Run(t, ns, line)
	}
	q := openQueue(in)
	must(t, q.setLeave(in, true))
	t.Logf("the kernel takes super-packets of UDP: %v", q.rows)
	for seed := range uint64(20) {
		list := rowPackets(seed, 400)
		if got := passed(t, in, out, &queue{headed: true, rows: q.rows}, list); !same(t, got, passed(t, in, out, &queue{headed: true}, list)) || len(got) != len(list) {
			t.Fatalf("seed %d: %d of %d packets come", seed, len(got), len(list))
		}
	}
	for isSix := range rowServer { // nearly the most that go as one
		var list [][]byte
		for i := range uint16(60) {
			list = append(list, rowPacket(isSix, 17, 64, 0, i, 0, 53, append(make([]byte, 8, 1008), bytes.Repeat([]byte{byte(i)}, 1000)...)))
		}
		if got := passed(t, in, out, &queue{headed: true, rows: q.rows}, list); !same(t, got, passed(t, in, out, &queue{headed: true}, list)) || len(got) != len(list) {
			t.Fatalf("%d of %d packets come", len(got), len(list))
		}
	}
}

// passed writes packets by a queue and returns what comes out of a device.
func passed(t *testing.T, in, out *os.File, q *queue, list [][]byte) (got [][]byte) {
	t.Helper()
	from, to := int(out.Fd()), in.Fd()
	must(t, unix.SetNonblock(from, true))
	for n, p := range list {
		if errno := q.put(to, undone{}, p); errno != 0 {
			t.Fatalf("packet %d: %v", n, errno)
		}
		if n%100 == 99 || n == len(list)-1 { // they pass in the call, and the device has room for 500
			if errno := q.flush(to); errno != 0 {
				t.Fatalf("packet %d: %v", n, errno)
			}
			for b := make([]byte, 65536); ; {
				k, err := unix.Read(from, b)
				if errors.Is(err, unix.EAGAIN) {
					break
				}
				must(t, err)
				if b[0]>>4 == 4 || [16]byte(b[24:]) == rowServer[true].As16() {
					got = append(got, bytes.Clone(b[:k]))
				}
			}
		}
	}
	return got
}

func same(t *testing.T, got, want [][]byte) bool {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("packet %d is\n%x\nwant\n%x", i, got[i][:min(64, len(got[i]))], want[i][:min(64, len(want[i]))])
			return false
		}
	}
	return len(got) == len(want)
}

// written is what a queue writes, each as the packets that it is.
func written(t *testing.T, c *net.UDPConn, list [][]byte, q *queue) (calls int, packets [][]byte) {
	t.Helper()
	to, err := net.DialUDP("udp", nil, c.LocalAddr().(*net.UDPAddr))
	must(t, err)
	defer to.Close()
	raw, err := to.SyscallConn()
	must(t, err)
	b := make([]byte, 65536)
	for n, p := range list {
		must(t, raw.Control(func(fd uintptr) {
			must(t, errors.Join(of(q.put(fd, undone{}, p))))
			if n == len(list)-1 {
				must(t, errors.Join(of(q.flush(fd)), of(q.write(fd, undone{}, []byte{0}))))
			}
		}))
	}
	for {
		must(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		n, err := c.Read(b)
		must(t, err)
		u, p := q.split(bytes.Clone(b[:n]))
		if len(p) == 1 {
			return calls, packets
		}
		calls++
		if u.segment == 0 {
			packets = append(packets, p)
		}
		u.segments(p, nil, func(s []byte) { packets = append(packets, bytes.Clone(s)) })
	}
}

func of(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// Runs of datagrams are one call; and where the kernel does not take what it said it takes, they go one by one, then and from then on.
func TestRowsAreOneCall(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	must(t, err)
	defer c.Close()
	must(t, c.SetReadBuffer(4<<20))
	run := func(count, size int) (list [][]byte) {
		for i := range count {
			list = append(list, rowPacket(true, 17, 64, 0, 0, 0, 53, bytes.Repeat([]byte{byte(i)}, 8+size)))
		}
		return list
	}
	for _, x := range []struct {
		count, size, calls int
		rows, after        bool
	}{
		{64, 64, 1, true, true}, {65, 64, 2, true, true}, {130, 1, 3, true, true}, {50, 64, 50, false, false}, {1, 64, 1, true, true},
		{64, 1023, 64, true, false}, // more than a socket takes: EMSGSIZE
	} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			q, list := &queue{headed: true, rows: x.rows}, run(x.count, x.size)
			calls, got := written(t, c, list, q)
			if !same(t, got, list) || calls != x.calls || q.rows != x.after {
				t.Errorf("%d packets in %d calls, and rows %v after it; want %d in %d, %v", len(got), calls, q.rows, len(list), x.calls, x.after)
			}
		})
	}
}

// What sockets send as one super-packet (UDP_SEGMENT) comes as the datagrams that it is, both ways.
func TestDatagramsOfOneCallReachIPv4(t *testing.T) {
	const segment, count = 300, 41
	eachWay(t, func(t *testing.T, b *bed) {
		var server *net.UDPConn
		netnstest.Do(t, b.server, func() (err error) {
			server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverAddr, 53)))
			return err
		})
		defer server.Close()
		client := b.dial(t, "udp", 53).(*net.UDPConn)
		word := make([]byte, 2048)
		_, err := client.Write([]byte("first"))
		must(t, err)
		must(t, errors.Join(server.SetDeadline(time.Now().Add(time.Minute)), client.SetDeadline(time.Now().Add(time.Minute))))
		_, from, err := server.ReadFromUDPAddrPort(word)
		must(t, err)
		data := bytes.Repeat([]byte("hexapod"), count*segment/7)[:(count-1)*segment+100]
		for i := range count {
			data[i*segment] = byte(i)
		}
		for _, c := range []*net.UDPConn{client, server} {
			raw, err := c.SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment)) }))
		}
		for range 3 {
			_, err = client.Write(data)
			must(t, err)
			for i := range count {
				n, _, err := server.ReadFromUDPAddrPort(word)
				if want := data[i*segment : min(len(data), (i+1)*segment)]; err != nil || !bytes.Equal(word[:n], want) {
					t.Fatalf("datagram %d to IPv4 has %d bytes: %v", i, n, err)
				}
			}
			_, err = server.WriteToUDPAddrPort(data, from)
			must(t, err)
			for i := range count {
				n, err := client.Read(word)
				if want := data[i*segment : min(len(data), (i+1)*segment)]; err != nil || !bytes.Equal(word[:n], want) {
					t.Fatalf("datagram %d to IPv6 has %d bytes: %v", i, n, err)
				}
			}
		}
		b.wantFast(t, 2)
	})
}
