// Package dhcp sends and hears the messages of a DHCPv6 client on a link, beside any other client of the host.
//
// Two programs cannot both own port 546 of UDP: the kernel would give each answer to one of them. So this one owns no port: it
// sends through a raw socket and reads a copy of what comes to port 546, and another client, asking for addresses, goes on.
package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// Ports of DHCPv6 (RFC 8415 7.2).
const (
	clientPort = 546
	serverPort = 547
)

const (
	udpHeader   = 8
	udpChecksum = 6 // where it stands in the header; the kernel fills it in and looks at it (RFC 3542 3.1)
)

// servers is All_DHCP_Relay_Agents_and_Servers (RFC 8415 7.1).
var servers = netip.MustParseAddr("ff02::1:2").As16()

// Port is the client's side of DHCPv6 on one link.
type Port struct {
	link string
	conn *rtnl.Conn
	file *os.File
	raw  syscall.RawConn
	buf  []byte
	oob  []byte
}

// Open opens the port of a link in ns; nil is the namespace of the process. The link need not exist yet.
func Open(ns *netns.NS, link string) (_ *Port, err error) {
	fd := -1
	open := func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
		return err
	}
	if ns == nil {
		err = open()
	} else {
		err = ns.Do(open)
	}
	if err != nil {
		return nil, fmt.Errorf("open a raw socket for DHCPv6: %w", err)
	}
	p := &Port{link: link, file: os.NewFile(uintptr(fd), "dhcp"), buf: make([]byte, 64<<10), oob: make([]byte, 128)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the DHCPv6 port of %s: %w", link, errors.Join(err, p.Close()))
		}
	}()
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, udpChecksum),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, toClientPort()),
	); err != nil {
		return nil, err
	}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, err
	}
	p.conn, err = rtnl.Dial(ns)
	return p, err
}

// toClientPort is the classic BPF program that lets only packets to port 546 in: all UDP of the host would come otherwise. It
// begins at the UDP header.
func toClientPort() *unix.SockFprog {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: clientPort, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}

// Close closes the port; a waiting Receive returns os.ErrClosed.
func (p *Port) Close() error {
	err := p.file.Close()
	if p.conn != nil {
		err = errors.Join(err, p.conn.Close())
	}
	return err
}

// index is that of the link as it is now: it may have been made anew.
func (p *Port) index() (int, error) {
	l, ok, err := p.conn.Link(p.link)
	if err == nil && !ok {
		err = fmt.Errorf("link %s does not exist on this host", p.link)
	}
	return l.Index, err
}

// Send sends a message to all servers and relays on the link, from its link-local address.
func (p *Port) Send(message []byte) error {
	index, err := p.index()
	if err != nil {
		return fmt.Errorf("ask the DHCPv6 servers: %w", err)
	}
	b := make([]byte, udpHeader, udpHeader+len(message))
	binary.BigEndian.PutUint16(b[0:], clientPort)
	binary.BigEndian.PutUint16(b[2:], serverPort)
	binary.BigEndian.PutUint16(b[4:], uint16(udpHeader+len(message)))
	b = append(b, message...)
	to := &unix.SockaddrInet6{Addr: servers, ZoneId: uint32(index)}
	var sent error
	if err := p.raw.Control(func(fd uintptr) { sent = unix.Sendto(int(fd), b, 0, to) }); err != nil {
		return err
	}
	if sent != nil {
		return fmt.Errorf("ask the DHCPv6 servers on %s: %w", p.link, sent)
	}
	return nil
}

// Receive waits for the next message that came over the link from a neighbour on it. It ends with the error of ctx.
func (p *Port) Receive(ctx context.Context) ([]byte, error) {
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		message, index, err := p.read()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("wait for DHCPv6 on %s: %w", p.link, err)
		case message == nil:
			continue
		}
		if here, err := p.index(); err == nil && here == index {
			return message, nil
		}
	}
}

// read returns one message and the link it came over; nil for a packet that is none.
func (p *Port) read() (message []byte, index int, err error) {
	var n, oobn int
	var from unix.Sockaddr
	waited := p.raw.Read(func(fd uintptr) bool {
		n, oobn, _, from, err = unix.Recvmsg(int(fd), p.buf, p.oob, unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	if waited != nil {
		return nil, 0, waited
	}
	if err != nil {
		return nil, 0, err
	}
	sa, ok := from.(*unix.SockaddrInet6)
	// Routers do not forward what comes from a link-local address (RFC 4291 2.5.6): whoever sent this is on the link.
	if !ok || !netip.AddrFrom16(sa.Addr).IsLinkLocalUnicast() || n < udpHeader {
		return nil, 0, nil
	}
	b := p.buf[:n]
	length := int(binary.BigEndian.Uint16(b[4:]))
	if binary.BigEndian.Uint16(b[2:]) != clientPort || length < udpHeader || length > n {
		return nil, 0, nil
	}
	return append([]byte{}, b[udpHeader:length]...), arrival(p.oob[:oobn]), nil
}

// arrival reads the link a packet came over (RFC 3542 6.1, struct in6_pktinfo).
func arrival(oob []byte) int {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range list {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 20 {
			return int(binary.NativeEndian.Uint32(m.Data[16:]))
		}
	}
	return 0
}
