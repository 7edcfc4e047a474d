package rtnl

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Ignore leaves out of the events what any of conns changes, from now on; what the kernel does by itself because of such a
// change is left out with it where the kernel names the same sender. A table of 100,000 routes can so be written without
// telling its writer. The choice is the kernel's (a socket filter), and it replaces that of an earlier call.
func (s *Subscription) Ignore(conns ...*Conn) error {
	var program []unix.SockFilter
	// Offset 12 of struct nlmsghdr is the port of the sender; a filter reads it in network byte order (socket filters, BPF_ABS).
	program = append(program, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 12})
	for i, c := range conns {
		port, err := c.port()
		if err != nil {
			return err
		}
		program = append(program, unix.SockFilter{
			Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: port, Jt: uint8(len(conns) - i),
		})
	}
	const whole = 1<<32 - 1
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: whole},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	var set error
	err := s.raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err == nil {
		err = set
	}
	if err != nil {
		return fmt.Errorf("filter the changes of the network: %w", err)
	}
	return nil
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
