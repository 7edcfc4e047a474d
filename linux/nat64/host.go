package nat64

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/xlat/nat64"
)

// hostProgram is the program that brings the translator packets to the host's own address, and the begin of the names of its attachments.
const hostProgram = "nat64_host"

// Names of its maps (bpf/nat64_host.c).
const (
	hostSettings = "nat64_host_settings"
	hostBound    = "nat64_bound" // which the fast path marks as well
)

// Host brings the translator the packets that arrive at the host's own IPv4 address for endpoints. The kernel would keep them: what is
// addressed to the host never meets its routes.
type Host struct {
	ns     *netns.NS
	folder *pin.Folder
	loaded *ebpf.Collection
}

// OpenHost loads the program over the maps that are pinned. It hangs nowhere yet. After Close everything goes on.
func OpenHost(o FastOptions) (*Host, error) {
	folder, err := openFolder(o)
	if err != nil {
		return nil, fmt.Errorf("ports of the host's address: %w", err)
	}
	spec, err := loadNat64host()
	if err != nil {
		return nil, fmt.Errorf("ports of the host's address: %w", err)
	}
	h := &Host{ns: o.NS, folder: folder}
	if h.loaded, err = folder.Load(spec, pin.Options{}); err != nil {
		return nil, fmt.Errorf("ports of the host's address: %w", err)
	}
	return h, nil
}

// dummy is the address that stands for no address (RFC 7600 4.8: the IPv4 dummy address).
var dummy = netip.AddrFrom4([4]byte{192, 0, 0, 8})

// Close closes what this process has open.
func (h *Host) Close() error {
	h.loaded.Close()
	return nil
}

// hostSettingsValue is struct nat64_host of bpf/nat64_host.c.
type hostSettingsValue struct {
	Addr [4]byte
	Link uint32
}

// Lead takes packets to addr out of the link with an index, the translator's, and hangs the program on links and on no others. Links that
// went meanwhile are passed over.
func (h *Host) Lead(addr netip.Addr, link string, on []string) error {
	conn, err := rtnl.Dial(h.ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	device, ok, err := conn.Link(link)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("ports of the host's address: no link %s", link), err)
	}
	// With no address on the device at all a kernel that checks sources (net.ipv4.conf.all.rp_filter, whatever the device's own says) drops
	// what comes from there with an address of the host itself (net/ipv4/fib_frontend.c, __fib_validate_source).
	own := rtnl.Addr{Index: device.Index, Prefix: netip.PrefixFrom(dummy, dummy.BitLen()), Scope: unix.RT_SCOPE_HOST}
	if err := conn.Do(rtnl.AddAddr(own, link, rtnl.Replace)); err != nil {
		return fmt.Errorf("ports of the host's address: %w", err)
	}
	if err := h.loaded.Maps[hostSettings].Put(uint32(0), hostSettingsValue{addr.As4(), uint32(device.Index)}); err != nil {
		return fmt.Errorf("ports of the host's address: %w", err)
	}
	keep := map[int]bool{}
	var errs []error
	for _, name := range on {
		l, ok, err := conn.Link(name)
		if err != nil || !ok {
			errs = append(errs, err)
			continue
		}
		keep[l.Index] = true
		err = inside(h.ns, func() error {
			_, err := pin.HangTCX(h.folder.File(hostAttachment(l.Index)), h.loaded.Programs[hostProgram], l.Index)
			return err
		})
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = errors.New("the kernel has no tcx (Linux 6.6): write a pool whose addresses are routed to this host")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ports of the host's address on link %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, takeOffHost(h.folder, keep))...)
}

// Off leaves every packet to the host.
func (h *Host) Off() error {
	return errors.Join(takeOffHost(h.folder, nil), h.loaded.Maps[hostSettings].Put(uint32(0), hostSettingsValue{}))
}

func inside(ns *netns.NS, f func() error) error {
	if ns == nil {
		return f()
	}
	return ns.Do(f)
}

func hostAttachment(index int) string { return hostProgram + "-" + strconv.Itoa(index) }

// takeOffHost takes the program off all links but those of the indices to keep.
func takeOffHost(folder *pin.Folder, keep map[int]bool) error {
	list, err := filepath.Glob(folder.File(hostProgram + "-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range list {
		index, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), hostProgram+"-"))
		if err == nil && keep[index] {
			continue
		}
		_, err = pin.TakeOffTCX(path)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Bound is the memory in which a translator marks the ports that endpoints have. The caller closes it.
func (h *Host) Bound() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(h.loaded.Maps[hostBound].FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ports of the host's address: %w", err)
	}
	return os.NewFile(uintptr(fd), FileBound), nil
}

// RemoveHost takes the program off all links and unpins what it has.
func RemoveHost(o FastOptions) error {
	if o.Root == "" {
		o.Root = pin.DefaultRoot
	}
	folder, err := pin.Find(o.Root, o.Run)
	if err != nil || folder == nil {
		return err
	}
	return errors.Join(takeOffHost(folder, nil), folder.Unpin(hostSettings, hostBound))
}

// sharedBits maps the memory of the marks.
func sharedBits(f *os.File) (nat64.Bits, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, nat64.BitsWords*8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("ports of the host's address: %w", err)
	}
	// Words are numbers, and a mapping begins at a page: any bytes are valid ones, and they are aligned.
	return unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), nat64.BitsWords), nil
}
