package rtnl

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzEvents feeds any bytes to everything that parses bytes from the kernel.
func FuzzEvents(f *testing.F) {
	f.Add(DeleteGroup(EndpointGroup).append(nil, 1))
	f.Add(AddVeth(VethEnd{Name: "a", NetNS: -1}, VethEnd{Name: "b", NetNS: 3}).append(nil, 2))
	f.Add(SetAddrGenMode(7, "a", GenNone).append(nil, 3))
	f.Add(AddNextHop(NextHop{ID: 9, Group: []uint32{7, 8}}, IfAbsent).body)
	f.Add([]byte{16, 0, 0, 0, unix.RTM_NEWROUTE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := parseEvents(b)
		if err == nil && len(events) > len(b)/unix.SizeofNlMsghdr {
			t.Errorf("%d events in %d bytes", len(events), len(b))
		}
		m := Message{Type: unix.NLMSG_ERROR, Flags: unix.NLM_F_ACK_TLVS, Body: b}
		_ = (&Request{what: "test"}).acknowledged(m)
		if n, err := ParseNextHop(m); err == nil && len(n.Group) > len(b)/sizeofNhGrp {
			t.Errorf("%d members in %d bytes", len(n.Group), len(b))
		}
	})
}

func TestRequestIsReadBack(t *testing.T) {
	r := NewRequest("test", unix.RTM_SETLINK, 0, ifinfo(7, 0, 0))
	r.Text(unix.IFLA_IFNAME, "hx0")
	r.Nest(unix.IFLA_LINKINFO, func() { r.Bytes(unix.IFLA_INFO_KIND, []byte("veth")) })
	r.Uint32(unix.IFLA_GROUP, EndpointGroup)
	b := r.append(nil, 9)
	m, rest, err := split(b)
	if err != nil || len(rest) != 0 || m.Seq != 9 || m.Type != unix.RTM_SETLINK || len(b)%unix.NLMSG_ALIGNTO != 0 {
		t.Fatalf("message %+v, rest %d, %v", m, len(rest), err)
	}
	l, err := ParseLink(m)
	if err != nil || l.Index != 7 || l.Name != "hx0" || !l.OfEndpoint() {
		t.Errorf("link %+v, %v", l, err)
	}
}

func TestBrokenMessages(t *testing.T) {
	whole := DeleteGroup(1).append(nil, 1)
	for n := 1; n < len(whole); n++ {
		if _, _, err := split(whole[:n]); err == nil {
			t.Errorf("a message cut to %d of %d bytes is taken", n, len(whole))
		}
	}
	for _, parse := range []func(Message) error{
		func(m Message) error { _, err := ParseLink(m); return err },
		func(m Message) error { _, err := ParseAddr(m); return err },
		func(m Message) error { _, err := ParseRoute(m); return err },
		func(m Message) error { _, err := ParseNeigh(m); return err },
		func(m Message) error { _, err := ParseNextHop(m); return err },
	} {
		if parse(Message{Body: bytes.Repeat([]byte{1}, 3)}) == nil {
			t.Error("a body of 3 bytes is taken")
		}
	}
}
