// Package tun keeps TUN devices: links whose packets a process reads and writes, and which stay when it ends.
package tun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/linux/sysctl"
)

// MTU of the devices: more than any packet, so that the process says what is too big and not the kernel.
const MTU = 65535

// Open makes the device name in ns, or finds the one that is there, and returns a queue of it. Every packet is one read or one write, from
// its IP header on. The device stays when the file is closed; Remove takes it away. EBUSY: another process has its queue.
func Open(ns *netns.NS, name string) (*os.File, error) { return open(ns, name, 0) }

func open(ns *netns.NS, name string, form uint16) (f *os.File, err error) {
	err = inside(ns, func() error { f, err = attach(name, form); return err })
	if err != nil {
		return nil, err
	}
	if err := settle(ns, name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// attach opens a queue of the device and makes the device stay.
func attach(name string, form uint16) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("TUN device %s: open /dev/net/tun (the kernel module tun is needed): %w", name, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | form)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("TUN device %s: %w", name, err)
	}
	// Not before it is a device: the runtime begins to wait for packets here, and before there is no queue to wait at.
	return os.NewFile(uintptr(fd), name), nil
}

// settle brings the device up. Packets from it may carry addresses of the host itself, which the kernel takes from no other link
// (accept_local), and come by a link that no route leads to (rp_filter 2, RFC 3704 2.4).
func settle(ns *netns.NS, name string) error {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	defer conn.Close()
	l, ok, err := conn.Link(name)
	if err == nil && !ok {
		err = fmt.Errorf("TUN device %s vanished", name)
	}
	if err != nil {
		return err
	}
	size := rtnl.SetLink(l.Index, name, "set MTU")
	size.Uint32(unix.IFLA_MTU, MTU)
	if err := conn.Do(rtnl.SetAddrGenMode(l.Index, name, rtnl.GenNone), size, rtnl.SetUp(l.Index, name, true)); err != nil {
		return err
	}
	settings := sysctl.Open(ns)
	return errors.Join(
		settings.Write(sysctl.Key("net/ipv4/conf/"+name+"/accept_local"), "1"),
		settings.Write(sysctl.Key("net/ipv4/conf/"+name+"/rp_filter"), "2"),
		settings.Write(sysctl.Key("net/ipv4/conf/"+name+"/forwarding"), "1"),
		settings.Write(sysctl.IPv6(name, "accept_ra"), "0"),
	)
}

// Remove takes a device away. A missing one is no error.
func Remove(ns *netns.NS, name string) (removed bool, err error) {
	conn, err := rtnl.Dial(ns)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	l, ok, err := conn.Link(name)
	if err != nil || !ok {
		return false, err
	}
	if l.Kind != "tun" {
		return false, fmt.Errorf("link %s is no TUN device: it is somebody else's", name)
	}
	return true, conn.Do(rtnl.DeleteLink(l.Index, name))
}

func inside(ns *netns.NS, f func() error) error {
	if ns == nil {
		return f()
	}
	return ns.Do(f)
}
