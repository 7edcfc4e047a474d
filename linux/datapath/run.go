package datapath

import (
	"fmt"

	"github.com/cilium/ebpf"

	"hexapod.dev/model/datapath"
)

// skbuff is struct __sk_buff of linux/bpf.h, as far as a test run takes it (bpf_prog_test_run_skb, kernel 5.15).
type skbuff struct {
	Len, PktType, Mark, Queue, Protocol, VLANPresent, VLANTCI, VLANProto, Priority uint32

	IngressIfindex, Ifindex, TCIndex   uint32
	CB                                 [5]uint32
	Hash, ClassID, Data, DataEnd, NAPI uint32
	Family, RemoteIP4, LocalIP4        uint32
	RemoteIP6, LocalIP6                [4]uint32
	RemotePort, LocalPort, DataMeta    uint32
	FlowKeys, Timestamp                uint64
	WireLen, Segments                  uint32
	Socket                             uint64
	SegmentSize                        uint32
	TimestampType                      uint32
	HWTimestamp                        uint64
}

// Fates as the programs return them (linux/pkt_cls.h, TC_ACT_*).
const (
	actUnspec   = -1
	actShot     = 2
	actRedirect = 7
)

// Places in the control block of a packet (bpf/include/slot.h, forward.h).
const (
	cbPlace = 0
	cbWhy   = 1
	cbOut   = 2
)

// run sends one packet through a program without sending it anywhere (BPF_PROG_TEST_RUN). The maps take part: a flow that begins is
// noted.
func run(program *ebpf.Program, p datapath.Packet) (datapath.Outcome, error) {
	in := skbuff{Ifindex: p.Link, IngressIfindex: p.Came, Mark: p.Mark, SegmentSize: uint32(p.Segment)}
	in.CB[cbPlace] = uint32(p.Place)
	var out skbuff
	o := ebpf.RunOptions{Data: p.Frame, DataOut: make([]byte, len(p.Frame)+256), Context: in, ContextOut: &out, Repeat: 1}
	ret, err := program.Run(&o)
	if err != nil {
		return datapath.Outcome{}, fmt.Errorf("send a packet through the programs: %w", err)
	}
	got := datapath.Outcome{Why: datapath.Why(out.CB[cbWhy]), Frame: o.DataOut, Mark: out.Mark}
	switch int32(ret) {
	case actUnspec:
	case actShot:
		got.Fate = datapath.Drop
	case actRedirect:
		got.Fate, got.Out = datapath.ToPeer, out.CB[cbOut]
		switch got.Why {
		case datapath.Remote:
			got.Fate = datapath.ToNext
		case datapath.Refused, datapath.Answered:
			got.Fate = datapath.Back
		}
	default:
		return got, fmt.Errorf("the programs returned %d, which means nothing", int32(ret))
	}
	return got, nil
}

// Trace sends one packet through the programs that are in use, as if it were met at its place. Nothing is sent anywhere, but a flow
// that begins is noted.
func (t *Table) Trace(p datapath.Packet) (o datapath.Outcome, err error) {
	err = t.inside(func() error {
		o, err = run(t.loaded.Programs["judge"], p)
		return err
	})
	return o, err
}
