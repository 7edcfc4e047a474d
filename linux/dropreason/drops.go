// Package dropreason hears which packets the kernel itself dropped in the namespaces of this host, and the kernel's reason.
package dropreason

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"hexapod.dev/linux/netns"
)

// Drop is one packet that the kernel dropped.
type Drop struct {
	Reason           string // the kernel's word without SKB_DROP_REASON_, such as NO_SOCKET (include/net/dropreason-core.h)
	Function         string // of the kernel, where it happened; what is left to know when the reason is NOT_SPECIFIED
	Link             uint32 // on the host's side: the one that leads to the endpoint's namespace, or the device of a packet in the host's own; 0 if unknown
	Length           int    // bytes from where the kernel stood in it
	Src, Dst         netip.Addr
	Proto            uint8 // of the first header after the fixed one
	SrcPort, DstPort uint16
}

// Ears listen to the kernel's drops from Open to Close.
type Ears struct {
	objects dropsObjects
	hook    link.Link
	reasons map[uint32]string
}

// Open begins to listen, at first to no namespace. The kernel must have reasons (Linux 5.17) and tell its types (CONFIG_DEBUG_INFO_BTF).
func Open() (_ *Ears, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("listen to the kernel's drops: %w", err)
		}
	}()
	e := &Ears{}
	if e.reasons, err = reasons(); err != nil {
		return nil, err
	}
	spec, err := loadDrops()
	if err != nil {
		return nil, err
	}
	for name, variable := range map[string]string{"TC_INGRESS": "by_ingress_program", "TC_EGRESS": "by_egress_program"} {
		for number, reason := range e.reasons {
			if reason == name {
				err = errors.Join(err, spec.Variables[variable].Set(number))
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if err := spec.LoadAndAssign(&e.objects, nil); err != nil {
		return nil, err
	}
	e.hook, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: e.objects.KernelDrops})
	if err != nil {
		return nil, errors.Join(err, e.objects.Close())
	}
	return e, nil
}

// Close ends the listening.
func (e *Ears) Close() error { return errors.Join(e.hook.Close(), e.objects.Close()) }

// reasons reads the kernel's names of its reasons.
func reasons() (map[uint32]string, error) {
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var enum *btf.Enum
	if err := types.TypeByName("skb_drop_reason", &enum); err != nil {
		return nil, err
	}
	names := make(map[uint32]string, len(enum.Values))
	for _, v := range enum.Values {
		names[uint32(v.Value)] = strings.TrimPrefix(v.Name, "SKB_DROP_REASON_")
	}
	return names, nil
}

// Add listens to a namespace, too. Link is the index of the link on the host's side that leads there, 0 for the host's own namespace.
func (e *Ears) Add(space netns.ID, link uint32) error {
	if err := e.objects.Spaces.Put(uint32(space.Inode), link); err != nil {
		return fmt.Errorf("listen to the kernel's drops behind link %d: %w", link, err)
	}
	return nil
}

// Remove listens no more to the namespace behind link: its number will be another namespace's.
func (e *Ears) Remove(link uint32) error {
	var inode, to uint32
	all := e.objects.Spaces.Iterate()
	for all.Next(&inode, &to) {
		if to != link {
			continue
		}
		if err := e.objects.Spaces.Delete(inode); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("listen to the kernel's drops behind link %d no more: %w", link, err)
		}
		return nil
	}
	return all.Err()
}

// Follow calls told with each drop until ctx ends or told returns an error. The kernel tells 200 a second at most.
func (e *Ears) Follow(ctx context.Context, told func(Drop) error) error {
	r, err := ringbuf.NewReader(e.objects.Lost)
	if err != nil {
		return fmt.Errorf("listen to the kernel's drops: %w", err)
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	for ctx.Err() == nil {
		record, err := r.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen to the kernel's drops: %w", err)
		}
		if d, ok := e.read(record.RawSample); ok {
			if err := told(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// Layout of struct lost (bpf/drops.c).
const (
	headAt  = 20
	headLen = 48
	whereAt = headAt + headLen
	lostLen = whereAt + 48
)

// read reads struct lost. Packets of neither IPv6 nor IPv4 are not told.
func (e *Ears) read(b []byte) (d Drop, ok bool) {
	if len(b) < lostLen {
		return d, false
	}
	number := binary.LittleEndian.Uint32(b)
	d.Reason, ok = e.reasons[number]
	if !ok {
		d.Reason = strconv.FormatUint(uint64(number), 10) // a module's own, such as mac80211's
	}
	d.Link = binary.LittleEndian.Uint32(b[4:])
	if d.Link == 0 {
		d.Link = binary.LittleEndian.Uint32(b[8:])
	}
	d.Length = int(binary.LittleEndian.Uint32(b[12:]))
	where, _, _ := bytes.Cut(b[whereAt:lostLen], []byte{0})
	d.Function, _, _ = strings.Cut(string(where), "+")
	head := b[headAt:whereAt]
	var ports []byte
	switch binary.BigEndian.Uint16(b[16:]) {
	case 0x86dd:
		d.Proto, d.Src, d.Dst = head[6], netip.AddrFrom16([16]byte(head[8:24])), netip.AddrFrom16([16]byte(head[24:40]))
		ports = head[40:]
	case 0x0800:
		d.Proto, d.Src, d.Dst = head[9], netip.AddrFrom4([4]byte(head[12:16])), netip.AddrFrom4([4]byte(head[16:20]))
		ports = head[min(int(head[0]&15)*4, headLen):]
	default:
		return d, false
	}
	if (d.Proto == 6 || d.Proto == 17) && len(ports) >= 4 {
		d.SrcPort, d.DstPort = binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:])
	}
	return d, true
}
