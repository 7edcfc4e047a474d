package nat64

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// Names of the programs of the fast path: that of the translator's device, also what rtnetlink calls its filter, and that of packets which
// links bring.
const (
	fastProgram  = "nat64"
	earlyProgram = "nat64_early"
)

// Names of its maps (bpf/nat64.c).
const (
	flowsMap    = "nat64_flows"
	roomsMap    = "nat64_rooms"
	settingsMap = "nat64_settings"
	countsMap   = "nat64_counts"
	idsMap      = "nat64_ids"
	deviceMap   = "nat64_device"
)

// earlySlot is the slot of the datapath through which judged packets come to the fast path before the kernel forwards them
// (bpf/include/translate.h). It belongs to the datapath, whose programs may be there without a translator.
const earlySlot = "translate"

// Fast is the fast path of a host: the program, the memory that it shares with the translator, and what it is told.
type Fast struct {
	ns     *netns.NS
	loaded *ebpf.Collection
}

// FastOptions are where a fast path lives.
type FastOptions struct {
	NS    *netns.NS // nil: the namespace of the process
	Root  string    // a BPF file system; empty: pin.DefaultRoot
	Run   string    // folder of the agent, for a file system of its own where root is none
	Flows int       // that it can know at least; what is pinned keeps its size
	Rooms int       // endpoints whose flows it begins by itself, at least; what is pinned keeps its size
}

// OpenFast loads the program over the maps that are pinned. It hangs nowhere yet. After Close everything goes on.
func OpenFast(o FastOptions) (*Fast, error) {
	folder, err := openFolder(o)
	if err != nil {
		return nil, fmt.Errorf("fast path of NAT64: %w", err)
	}
	spec, err := loadNat64()
	if err != nil {
		return nil, fmt.Errorf("fast path of NAT64: %w", err)
	}
	spec.Maps[flowsMap].MaxEntries = uint32(nat64.FastBuckets(o.Flows))
	spec.Maps[roomsMap].MaxEntries = 1 + uint32(nat64.FastRooms(o.Rooms))
	sizes := map[string]uint32{}
	for _, name := range []string{flowsMap, roomsMap} {
		m, err := folder.Map(spec.Maps[name], nil)
		if err != nil {
			return nil, fmt.Errorf("fast path of NAT64: %w", err)
		}
		sizes[name] = m.MaxEntries()
		if err := m.Close(); err != nil {
			return nil, fmt.Errorf("fast path of NAT64: %w", err)
		}
	}
	if err := setVariables(spec, sizes[flowsMap], sizes[roomsMap]-1); err != nil {
		return nil, fmt.Errorf("fast path of NAT64: %w", err)
	}
	f := &Fast{ns: o.NS}
	if f.loaded, err = folder.Load(spec, pin.Options{}); err != nil {
		return nil, fmt.Errorf("fast path of NAT64: %w", err)
	}
	return f, nil
}

func openFolder(o FastOptions) (*pin.Folder, error) {
	if o.Root == "" {
		o.Root = pin.DefaultRoot
	}
	return pin.Open(o.Root, o.Run)
}

// setVariables writes what the program takes from the model.
func setVariables(spec *ebpf.CollectionSpec, buckets, rooms uint32) error {
	return errors.Join(spec.Variables["bucket_mask"].Set(buckets-1), spec.Variables["room_mask"].Set(rooms-1),
		spec.Variables["tcp_steps"].Set(nat64.Steps()), spec.Variables["held_back"].Set(heldBack()))
}

// heldBack are the IPv4 networks that the program begins no flow to, as net and mask in network order: the translator knows which of them
// may be reached.
func heldBack() (list [64]uint32) {
	all := xlat.NotGlobal()
	for i := range len(list) / 2 {
		p := all[min(i, len(all)-1)]
		four := p.Addr().As4()
		list[2*i] = binary.LittleEndian.Uint32(four[:])
		list[2*i+1] = bits.ReverseBytes32(^uint32(0) << (32 - p.Bits()))
	}
	return list
}

// Close closes what this process has open.
func (f *Fast) Close() error {
	f.loaded.Close()
	return nil
}

// Hang hangs the program on the way into the translator's device, in place of one that hangs there, and lets the datapath bring packets
// before they come so far.
func (f *Fast) Hang(link string) error {
	conn, err := rtnl.Dial(f.ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	l, ok, err := conn.Link(link)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("fast path of NAT64: no link %s", link), err)
	}
	if err := f.early(l.Index); err != nil {
		return err
	}
	p := f.loaded.Programs[fastProgram]
	info, err := p.Info()
	if err != nil {
		return fmt.Errorf("fast path of NAT64: %w", err)
	}
	id, _ := info.ID()
	if have, ok, err := conn.Filter(l.Index, rtnl.Egress, fastProgram); err != nil || ok && have == uint32(id) {
		return err
	}
	return conn.Do(rtnl.AddClsact(l.Index, link), rtnl.SetFilter(l.Index, link, rtnl.Egress, p.FD(), fastProgram))
}

// early fills the slot of the datapath. What hangs on links goes through it at once, also on those that come later.
func (f *Fast) early(device int) error {
	err := f.loaded.Maps[deviceMap].Put(uint32(0), uint32(device))
	if err == nil {
		err = f.loaded.Maps[earlySlot].Put(uint32(0), f.loaded.Programs[earlyProgram])
	}
	if err != nil {
		return fmt.Errorf("fast path of NAT64 where packets arrive: %w", err)
	}
	return nil
}

// Buckets is the size of the shared memory.
func (f *Fast) Buckets() int { return int(f.loaded.Maps[flowsMap].MaxEntries()) }

// Rooms is how many endpoints can begin flows in the program.
func (f *Fast) Rooms() int { return int(f.loaded.Maps[roomsMap].MaxEntries()) - 1 }

// Memory is the shared memory, for a translator: that of flows, and that of rooms of endpoints. The caller closes both.
func (f *Fast) Memory() (flows, rooms *os.File, err error) {
	if flows, err = f.duplicate(flowsMap, FileFast); err != nil {
		return nil, nil, err
	}
	if rooms, err = f.duplicate(roomsMap, FileRooms); err != nil {
		flows.Close()
		return nil, nil, err
	}
	return flows, rooms, nil
}

func (f *Fast) duplicate(name, file string) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(f.loaded.Maps[name].FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("memory of the fast path of NAT64: %w", err)
	}
	return os.NewFile(uintptr(fd), file), nil
}

// fastSettings is struct nat64_settings of bpf/nat64.c.
type fastSettings struct {
	Seed                                  uint64
	Secret                                nat64.Secret
	Prefix                                [16]byte
	Flags, MTU6                           uint32
	LifeUDP, LifeICMP, LifeTrans, LifeEst uint32
	Now, ID                               uint32
}

const (
	fastOn = 1 << iota
	fastDirect
	fastTest
	fastBegin
	fastShare
	fastEarly4
)

// Set tells the program what the translator is told. direct: packets go to their next hop from here; else the kernel's routes, and the
// rules that others have for forwarding, take them on. direct4: no such rules are for IPv4 either, so answers do not have to come as far as
// the translator's device.
func (f *Fast) Set(c Config, direct, direct4 bool) error {
	s := settingsOf(c)
	s.Flags |= fastOn
	if direct {
		s.Flags |= fastDirect
	}
	if direct4 {
		s.Flags |= fastEarly4
	}
	return f.put(s)
}

func settingsOf(c Config) fastSettings {
	t := nat64.DefaultTimes
	s := fastSettings{Seed: fastSeed(c.Secret), Secret: c.Secret, MTU6: uint32(max(c.MTU6, 1280)), LifeUDP: uint32(t.UDP), LifeICMP: uint32(t.ICMP),
		LifeTrans: uint32(t.TCPTrans), LifeEst: uint32(t.TCPEst)}
	if len(c.Prefixes) > 0 && c.Prefixes[0].Bits() == 96 { // in longer ones the address lies in one piece at the end
		s.Prefix, s.Flags = c.Prefixes[0].Masked().Addr().As16(), fastBegin
	}
	if c.Ports != (Ports{}) {
		s.Flags |= fastShare
	}
	return s
}

// Off leaves every packet to the translator.
func (f *Fast) Off() error { return f.put(fastSettings{}) }

func (f *Fast) put(s fastSettings) error {
	if err := f.loaded.Maps[settingsMap].Put(uint32(0), s); err != nil {
		return fmt.Errorf("settings of the fast path of NAT64: %w", err)
	}
	return nil
}

// fastSeed keys the hash of flows.
func fastSeed(s nat64.Secret) uint64 { return binary.LittleEndian.Uint64(s[8:]) }

// FastCounts are the packets that came to the fast path.
type FastCounts struct {
	To4, To6 uint64 // that it translated
	Left     uint64 // that it left to the translator
}

// Counts returns what the program has done since its maps were made.
func (f *Fast) Counts() (c FastCounts, err error) {
	var each [][6]uint64 // struct nat64_count, by processor
	if err := f.loaded.Maps[countsMap].Lookup(uint32(0), &each); err != nil {
		return c, fmt.Errorf("counts of the fast path of NAT64: %w", err)
	}
	for _, n := range each {
		c.Left += n[0]
		c.To4 += n[1] + n[3]
		c.To6 += n[2] + n[4]
	}
	return c, nil
}

// RemoveFast unpins what the fast path has, and takes it out of the datapath. A program that hangs on a device goes with it.
func RemoveFast(o FastOptions) error {
	if o.Root == "" {
		o.Root = pin.DefaultRoot
	}
	folder, err := pin.Find(o.Root, o.Run)
	if err != nil || folder == nil {
		return err
	}
	return errors.Join(emptySlot(folder), folder.Unpin(flowsMap, roomsMap, settingsMap, countsMap, idsMap, deviceMap))
}

// emptySlot lets the datapath leave all packets to the kernel again.
func emptySlot(folder *pin.Folder) error {
	slot, err := ebpf.LoadPinnedMap(folder.File(earlySlot), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = slot.Delete(uint32(0))
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil
		}
		err = errors.Join(err, slot.Close())
	}
	if err != nil {
		return fmt.Errorf("slot of the translator in the datapath: %w", err)
	}
	return nil
}

// shared maps the memory of the fast path.
func shared(f *os.File, buckets int) ([]nat64.Bucket, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, buckets*int(unsafe.Sizeof(nat64.Bucket{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("memory of the fast path of NAT64: %w", err)
	}
	// A Bucket is numbers alone, and a mapping begins at a page: any bytes are a valid one, and it is aligned.
	return unsafe.Slice((*nat64.Bucket)(unsafe.Pointer(&b[0])), buckets), nil
}

// sharedRooms maps the memory of rooms: the log lies where the first would be.
func sharedRooms(f *os.File, rooms int) (r nat64.Rooms, err error) {
	size := int(unsafe.Sizeof(nat64.Room{}))
	b, err := unix.Mmap(int(f.Fd()), 0, (1+rooms)*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return r, fmt.Errorf("memory of the fast path of NAT64: %w", err)
	}
	// As in shared; a Room is as many bytes as a multiple of eight, and the log is smaller.
	r.Begun = (*nat64.Begun)(unsafe.Pointer(&b[0]))
	r.List = unsafe.Slice((*nat64.Room)(unsafe.Pointer(&b[size])), rooms)
	return r, nil
}
