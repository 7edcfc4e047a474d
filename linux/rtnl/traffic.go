package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Direction says on which side of a link a filter looks at packets.
type Direction uint32

// The two hooks of a clsact qdisc (linux/pkt_sched.h, TC_H_MIN_*).
const (
	Ingress Direction = 0xfffffff2 // what arrives by the link
	Egress  Direction = 0xfffffff3 // what leaves by it
)

func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Where filters of ours hang: the first of all, under a handle of their own.
const (
	clsactParent   = 0xfffffff1
	clsactHandle   = 0xffff0000
	filterPriority = 1
	filterHandle   = 1
)

// Attributes of queueing disciplines and of bpf filters (linux/rtnetlink.h, linux/pkt_cls.h).
const (
	tcaKind     = 1
	tcaOptions  = 2
	tcaBPFFD    = 6
	tcaBPFName  = 7
	tcaBPFFlags = 8
	tcaBPFID    = 11

	bpfDirectAction = 1 // the program's return value is the verdict
)

const sizeofTcmsg = 20

// ethAll is ETH_P_ALL in network order, as the info of a filter has it.
const ethAll = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8

func tcmsg(index int, handle, parent, info uint32) []byte {
	b := make([]byte, sizeofTcmsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], handle)
	binary.NativeEndian.PutUint32(b[12:], parent)
	binary.NativeEndian.PutUint32(b[16:], info)
	return b
}

// AddClsact gives a link the qdisc that filters hang on. One that is there is no error.
func AddClsact(index int, name string) *Request {
	r := NewRequest("add clsact qdisc to link "+name, unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, tcmsg(index, clsactHandle, clsactParent, 0))
	r.Text(tcaKind, "clsact")
	return r.Fine(unix.EEXIST)
}

// DeleteClsact takes the qdisc off a link, and all filters with it. A missing one is no error.
func DeleteClsact(index int, name string) *Request {
	r := NewRequest("delete clsact qdisc of link "+name, unix.RTM_DELQDISC, 0, tcmsg(index, clsactHandle, clsactParent, 0))
	r.Text(tcaKind, "clsact")
	return r.Fine(unix.ENOENT, unix.EINVAL, unix.ENODEV)
}

// SetFilter hangs an eBPF program, given as a descriptor, on a link in place of whatever filter of ours is there.
func SetFilter(index int, name string, d Direction, fd int, program string) *Request {
	r := NewRequest(fmt.Sprintf("hang %s on %s of link %s", program, d, name), unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_REPLACE,
		tcmsg(index, filterHandle, uint32(d), filterPriority<<16|ethAll))
	r.Text(tcaKind, "bpf")
	r.Nest(tcaOptions, func() {
		r.Uint32(tcaBPFFD, uint32(fd))
		r.Text(tcaBPFName, program)
		r.Uint32(tcaBPFFlags, bpfDirectAction)
	})
	return r
}

// DeleteFilter takes our filter off a link. A missing one is no error.
func DeleteFilter(index int, name string, d Direction) *Request {
	r := NewRequest(fmt.Sprintf("take the filter off %s of link %s", d, name), unix.RTM_DELTFILTER, 0,
		tcmsg(index, filterHandle, uint32(d), filterPriority<<16|ethAll))
	r.Text(tcaKind, "bpf")
	return r.Fine(unix.ENOENT, unix.EINVAL, unix.ENODEV)
}

// Filter tells what our filter of a program's name runs on a link, as the kernel's id of the program; ok is false when there is none.
func (c *Conn) Filter(index int, d Direction, program string) (id uint32, ok bool, err error) {
	r := NewRequest(fmt.Sprintf("list filters on %s of link with index %d", d, index), unix.RTM_GETTFILTER, 0, tcmsg(index, 0, uint32(d), 0))
	err = c.Dump(r, func(m Message) error {
		head, attrs, err := header(m, sizeofTcmsg, "filter")
		if err != nil {
			return err
		}
		if binary.NativeEndian.Uint32(head[8:]) != filterHandle || binary.NativeEndian.Uint32(head[16:])>>16 != filterPriority {
			return nil
		}
		for typ, v := range Attrs(attrs) {
			if typ != tcaOptions {
				continue
			}
			var runs uint32
			name := ""
			for typ, v := range Attrs(v) {
				switch typ {
				case tcaBPFID:
					runs = u32(v)
				case tcaBPFName:
					name = unix.ByteSliceToString(v)
				}
			}
			if name == program {
				id, ok = runs, true
			}
		}
		return nil
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return 0, false, nil // no clsact, or no link
	}
	return id, ok, err
}

// Traffic is a qdisc or a filter of a link, as far as an event tells.
type Traffic struct {
	Index int // of the link
}

func parseTraffic(m Message) (Traffic, error) {
	head, _, err := header(m, sizeofTcmsg, "qdisc or filter")
	if err != nil {
		return Traffic{}, err
	}
	return Traffic{Index: int(binary.NativeEndian.Uint32(head[4:]))}, nil
}
