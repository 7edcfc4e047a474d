package rtnl

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// rtmNewChain and rtmDelChain tell of the first filter of a qdisc (linux/rtnetlink.h).
const (
	rtmNewChain = 100
	rtmDelChain = 101
)

// Ignore leaves out of the events what any of conns changes, from now on; what the kernel does by itself because of such a
// change is left out with it where the kernel names the same sender. A table of 100,000 routes can so be written without
// telling its writer. The choice is the kernel's (a socket filter), and later calls add to it.
func (s *Subscription) Ignore(conns ...*Conn) error {
	for _, c := range conns {
		port, err := c.port()
		if err != nil {
			return err
		}
		s.ignored = append(s.ignored, port)
	}
	var set error
	err := s.raw.Control(func(fd uintptr) { set = s.filter(int(fd)) })
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("filter the changes of the network: %w", err)
	}
	return nil
}

// filter leaves out what nobody who subscribes asks for: senders that are ignored, the beginning of qdiscs and chains, and routes of
// the local table, which the kernel keeps by itself: most of what it tells when a link is made.
//
// Offsets are those of struct nlmsghdr and struct rtmsg. A filter reads numbers in network byte order (socket filters, BPF_ABS).
func (s *Subscription) filter(fd int) error {
	const whole, nothing = 1<<32 - 1, 0
	var program []unix.SockFilter
	// The jump of each line that drops is patched to the last instruction below.
	load := func(size uint16, at uint32) {
		program = append(program, unix.SockFilter{Code: unix.BPF_LD | size | unix.BPF_ABS, K: at})
	}
	drop := func(value uint32) {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: dropHere})
	}
	load(unix.BPF_W, 12)
	for _, port := range s.ignored {
		drop(port)
	}
	load(unix.BPF_H, 4)
	for _, typ := range []uint16{unix.RTM_NEWQDISC, rtmNewChain, rtmDelChain} {
		drop(hostShort(typ))
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: hostShort(unix.RTM_NEWROUTE), Jt: 1},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: hostShort(unix.RTM_DELROUTE), Jf: 2})
	load(unix.BPF_B, unix.SizeofNlMsghdr+4)
	drop(unix.RT_TABLE_LOCAL)
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: whole}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: nothing})
	for i := range program {
		if program[i].Jt == dropHere {
			program[i].Jt = uint8(len(program) - 2 - i)
		}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// dropHere marks a jump that is patched when the length of the program is known.
const dropHere = 0xff

// hostShort is how a filter sees a number of 16 bits that lies in a message in the machine's byte order.
func hostShort(n uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n)))
}

// port is the netlink port of c as a filter reads it.
func (c *Conn) port() (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return 0, fmt.Errorf("ask for the port of a netlink socket: %w", err)
	}
	at, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("the socket is not of netlink: %T", name)
	}
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, at.Pid)), nil
}
