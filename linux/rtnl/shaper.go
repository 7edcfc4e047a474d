package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Attributes of the token bucket filter (linux/pkt_sched.h).
const (
	tbfParms  = 1
	tbfRate64 = 4
	tbfBurst  = 6

	sizeofTBFParms = 36 // two rates of 12 bytes, then limit, buffer and mtu
	tcRoot         = 0xffffffff
	linkEthernet   = 1 // linklayer of a rate: no table of times has to come with it
)

// shaperHandle marks queues of ours: `tc qdisc show` writes it as ce:, which is 206.
const shaperHandle = 0xce << 16

// Shaper is a token bucket at the root of what a link sends (tc-tbf(8)). Filters of clsact beside it go on.
type Shaper struct {
	Index int
	Rate  uint64 // bytes a second
	Burst uint32 // bytes that may go at once
	Limit uint32 // bytes that may wait
}

// SetShaper puts s at the root of its link, in the place of any other queue there. name is the link's, for errors.
func SetShaper(s Shaper, name string) *Request {
	r := NewRequest(fmt.Sprintf("bound what link %s sends to %d bit/s", name, 8*s.Rate), unix.RTM_NEWQDISC,
		unix.NLM_F_CREATE|unix.NLM_F_REPLACE, tcmsg(s.Index, shaperHandle, tcRoot, 0))
	r.Text(tcaKind, "tbf")
	parms := make([]byte, sizeofTBFParms)
	parms[1] = linkEthernet
	binary.NativeEndian.PutUint32(parms[8:], uint32(min(s.Rate, 1<<32-1)))
	binary.NativeEndian.PutUint32(parms[24:], s.Limit)
	r.Nest(tcaOptions, func() {
		r.Bytes(tbfParms, parms)
		r.Bytes(tbfRate64, binary.NativeEndian.AppendUint64(nil, s.Rate))
		r.Uint32(tbfBurst, s.Burst)
	})
	return r
}

var errNotShaper = errors.New("not a shaper of ours")

// parseShaper reads an RTM_NEWQDISC. Burst and Limit are not told by the kernel in the words they were set in.
func parseShaper(m Message) (Shaper, error) {
	head, attrs, err := header(m, sizeofTcmsg, "queue")
	if err != nil {
		return Shaper{}, err
	}
	s := Shaper{Index: int(binary.NativeEndian.Uint32(head[4:]))}
	if binary.NativeEndian.Uint32(head[8:]) != shaperHandle || binary.NativeEndian.Uint32(head[12:]) != tcRoot {
		return s, errNotShaper
	}
	for typ, v := range Attrs(attrs) {
		if typ != tcaOptions {
			continue
		}
		for typ, v := range Attrs(v) {
			switch {
			case typ == tbfParms && len(v) >= sizeofTBFParms && s.Rate == 0:
				s.Rate = uint64(binary.NativeEndian.Uint32(v[8:]))
			case typ == tbfRate64 && len(v) >= 8:
				s.Rate = binary.NativeEndian.Uint64(v)
			}
		}
	}
	return s, nil
}

// Shaper returns the shaper of ours on a link; false if there is none.
func (c *Conn) Shaper(index int) (Shaper, bool, error) {
	var found Shaper
	ok := false
	err := c.Dump(NewRequest("list queues", unix.RTM_GETQDISC, 0, tcmsg(index, 0, 0, 0)), func(m Message) error {
		if m.Type != unix.RTM_NEWQDISC {
			return nil
		}
		s, err := parseShaper(m)
		switch {
		case errors.Is(err, errNotShaper), err == nil && s.Index != index:
			return nil
		case err != nil:
			return err
		}
		found, ok = s, true
		return nil
	})
	return found, ok, err
}
