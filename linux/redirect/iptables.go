package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// family is iptables of one address family: where its tables are listed, and the shapes of linux/netfilter_ipv6/ip6_tables.h and
// linux/netfilter_ipv4/ip_tables.h.
type family struct {
	names        string
	domain       int
	level        int
	targetOffset int // place of an entry's target_offset; next_offset stands behind it
	entry        int // bytes of an entry before its matches
}

var families = []family{
	{"/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 140, 168},
	{"/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP, 88, 112},
}

// Socket options and sizes of both.
const (
	getInfo    = 64
	getEntries = 65
	nameLen    = 32
	infoLen    = 84 // name, hooks, five places of each of two kinds, number of entries, their size
	infoSize   = 80 // where the size stands
	blobAt     = 40 // where entries begin: behind name and size, aligned
)

// iptablesKnown tells whether the kernel has the older iptables at all: their lists are then there in every namespace.
func iptablesKnown() bool {
	return slices.ContainsFunc(families, func(f family) bool {
		_, err := os.Stat(f.names)
		return err == nil
	})
}

// iptablesRedirect looks at the tables that the older iptables made in the namespace of this thread. Asking for a table that nobody
// made would make it, so their list is read first.
func iptablesRedirect() (bool, error) {
	for _, f := range families {
		list, err := f.list()
		if errors.Is(err, fs.ErrNotExist) { // the kernel has none of that
			continue
		}
		if err != nil {
			return false, err
		}
		for _, table := range []string{"nat", "mangle"} {
			if !slices.Contains(list, table) {
				continue
			}
			if found, err := f.table(table); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// list returns the names of the tables there are. It is asked for every endpoint of a host, so it makes three system calls.
func (f family) list() ([]string, error) {
	fd, err := unix.Open(f.names, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var buf [1024]byte // five tables, of at most 32 bytes each
	n, err := unix.Read(fd, buf[:])
	return strings.Fields(string(buf[:max(n, 0)])), err
}

// table reads one table.
func (f family) table(name string) (bool, error) {
	fd, err := unix.Socket(f.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	for range 3 { // it may grow between the two questions
		info := make([]byte, infoLen)
		copy(info, name)
		if err := getsockopt(fd, f.level, getInfo, info); err != nil {
			return false, fmt.Errorf("table %s: %w", name, err)
		}
		size := binary.NativeEndian.Uint32(info[infoSize:])
		blob := make([]byte, blobAt+int(size))
		copy(blob, name)
		binary.NativeEndian.PutUint32(blob[nameLen:], size)
		err := getsockopt(fd, f.level, getEntries, blob)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("table %s: %w", name, err)
		}
		return f.leads(blob[blobAt:]), nil
	}
	return false, fmt.Errorf("table %s changes all the time", name)
}

// leads tells whether the target of an entry sends packets elsewhere.
func (f family) leads(b []byte) bool {
	for len(b) >= f.entry {
		target, next := int(binary.NativeEndian.Uint16(b[f.targetOffset:])), int(binary.NativeEndian.Uint16(b[f.targetOffset+2:]))
		if next < f.entry || next > len(b) || target < f.entry || target+nameLen > next {
			return false
		}
		if isTarget(text(b[target+2 : target+nameLen-1])) {
			return true
		}
		b = b[next:]
	}
	return false
}

// getsockopt reads an option that carries a question in its buffer.
func getsockopt(fd, level, option int, b []byte) error {
	length := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
