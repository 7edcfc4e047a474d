package ndp

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filter is the program that lets only well-formed neighbour discovery of the given types wake the reader: whatever else crosses
// a busy uplink stays in the kernel. A packet begins with its IPv6 header.
func filter(types []byte) []bpf.Instruction {
	keep := bpf.RetConstant{Val: maxPacket}
	drop := bpf.RetConstant{Val: 0}
	steps := []struct {
		offset uint32
		values []byte
	}{{6, []byte{nextICMPv6}}, {7, []byte{hopLimit}}, {headerLen, types}, {headerLen + 1, []byte{0}}}
	var program []bpf.Instruction
	for _, s := range steps {
		program = append(program, bpf.LoadAbsolute{Off: s.offset, Size: 1})
		for i, v := range s.values { // the last jump falls into the drop behind it
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v), SkipTrue: uint8(len(s.values) - i)})
		}
		program = append(program, drop)
	}
	return append(program, keep)
}

// attach gives the socket its filter.
func attach(fd int, types []byte) error {
	raw, err := bpf.Assemble(filter(types))
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}
