package rtnl

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// DialDiag opens a Conn that asks for sockets instead of links and routes (sock_diag(7)), in ns; nil is the namespace of the process.
func DialDiag(ns *netns.NS) (*Conn, error) {
	c := &Conn{fd: -1}
	err := inside(ns, func() (err error) {
		c.fd, err = socket(unix.NETLINK_SOCK_DIAG, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket for sockets: %w", err)
	}
	return c, nil
}

// Socket is one socket of a namespace.
type Socket struct {
	Local, Remote netip.AddrPort // IPv4-mapped where an IPv6 socket talks IPv4
	Cookie        uint64         // tells it from any other of this boot (SO_COOKIE)

	family uint8
	id     [sockIDSize]byte
}

// Sizes of inet_diag_req_v2, inet_diag_sockid and inet_diag_msg (linux/inet_diag.h).
const (
	diagRequestSize = 56
	sockIDSize      = 48
	diagAnswerSize  = 72
)

// States of a socket, as bits: those of TCP stand for every protocol (net/tcp_states.h).
const (
	established = 1 << 1
	timeWait    = 1 << 6
	anyState    = 1<<12 - 1
)

// ConnectedUDP lists the UDP sockets of one family, unix.AF_INET or AF_INET6, that are connected to somebody.
func (c *Conn) ConnectedUDP(family uint8) ([]Socket, error) {
	return c.sockets(family, unix.IPPROTO_UDP, established)
}

// Sockets lists the sockets of one family, unix.AF_INET or AF_INET6, and one protocol, unix.IPPROTO_TCP or IPPROTO_UDP. Those of TCP that
// only wait for late segments are left out.
func (c *Conn) Sockets(family, protocol uint8) ([]Socket, error) {
	return c.sockets(family, protocol, anyState&^timeWait)
}

func (c *Conn) sockets(family, protocol uint8, states uint32) (list []Socket, err error) {
	body := make([]byte, diagRequestSize)
	body[0], body[1] = family, protocol
	binary.NativeEndian.PutUint32(body[4:], states)
	err = c.Dump(NewRequest("list sockets", unix.SOCK_DIAG_BY_FAMILY, 0, body), func(m Message) error {
		if len(m.Body) < diagAnswerSize {
			return fmt.Errorf("answer of %d bytes is shorter than %d", len(m.Body), diagAnswerSize)
		}
		list = append(list, socketOf(m.Body))
		return nil
	})
	return list, err
}

func socketOf(b []byte) Socket {
	s := Socket{family: b[0], id: [sockIDSize]byte(b[4:])}
	at := func(offset int) netip.Addr {
		if s.family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(s.id[offset:]))
		}
		return netip.AddrFrom16([16]byte(s.id[offset:]))
	}
	s.Local = netip.AddrPortFrom(at(4), binary.BigEndian.Uint16(s.id[0:]))
	s.Remote = netip.AddrPortFrom(at(20), binary.BigEndian.Uint16(s.id[2:]))
	s.Cookie = uint64(binary.NativeEndian.Uint32(s.id[40:])) | uint64(binary.NativeEndian.Uint32(s.id[44:]))<<32
	return s
}

// DestroyUDP ends a socket: what its owner does with it fails with ECONNABORTED (CONFIG_INET_DIAG_DESTROY). One that is gone
// already is fine.
func DestroyUDP(s Socket) *Request {
	body := make([]byte, diagRequestSize)
	body[0], body[1] = s.family, unix.IPPROTO_UDP
	binary.NativeEndian.PutUint32(body[4:], established)
	copy(body[8:], s.id[:])
	return NewRequest(fmt.Sprintf("end the UDP socket from %s to %s", s.Local, s.Remote), sockDestroy, 0, body).Fine(unix.ENOENT)
}

// sockDestroy is SOCK_DESTROY (linux/sock_diag.h, Linux 4.5).
const sockDestroy = 21
