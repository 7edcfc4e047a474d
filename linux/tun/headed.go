package tun

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// OpenHeaded is Open with another form of packets: behind a struct virtio_net_hdr each, which IsHeaded tells. Checksums and segments may be
// left to who is next then (Leave). A queue of a device that was opened otherwise before has this form, too.
func OpenHeaded(ns *netns.NS, name string) (*os.File, error) {
	return open(ns, name, unix.IFF_VNET_HDR)
}

// IsHeaded tells whether packets of a queue are behind a struct virtio_net_hdr each. A file that is no queue has none.
func IsHeaded(fd uintptr) bool {
	ifr, err := unix.NewIfreq("")
	return err == nil && unix.IoctlIfreq(int(fd), unix.TUNGETIFF, ifr) == nil && ifr.Uint16()&unix.IFF_VNET_HDR != 0
}

// Flags of TUNSETOFFLOAD (linux/if_tun.h).
const (
	leaveChecksums = 1
	leaveSegments  = 2 | 4       // of TCP over IPv4, and over IPv6
	leaveDatagrams = 0x20 | 0x40 // the same of UDP, since Linux 6.2
)

// Leave says whether the kernel may leave checksums and segments undone in what is read from a headed queue: those of TCP, and where datagrams
// is true, of UDP, too. Whatever may be read, such a kernel takes super-packets of UDP that are written.
func Leave(fd uintptr, yes bool) (datagrams bool, err error) {
	err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, leaveChecksums|leaveSegments|leaveDatagrams)
	datagrams = err == nil
	if errors.Is(err, unix.EINVAL) { // it does not know the last of these
		err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, leaveChecksums|leaveSegments)
	}
	if err == nil && !yes {
		err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0)
	}
	return datagrams, err
}
