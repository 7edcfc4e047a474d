package ndp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
)

// Times of asking a router whether it speaks BGP. Its daemons do not start all at once.
const (
	knockLimit  = 2 * time.Second // for one connection
	knockSoon   = time.Second     // between questions, for the first knockOften of them
	knockOften  = 10
	knockLater  = 30 * time.Second
	bgpPort     = 179 // RFC 4271 8
	gtsmHops    = 255 // RFC 5082 3: whoever wants that of his neighbours gets it
	knocksAtAll = 16  // questions that wait to be asked
)

// knock is the question whether a router takes BGP connections from this host.
type knock struct {
	link        rtnl.Link
	local, peer netip.Addr // link-local
	mac         MAC        // of the router
	password    string     // of TCP MD5 signatures (RFC 2385) that are known for it
}

// speaks asks. A connection that is taken is an answer, even if it is closed at once: a router that expects its neighbours by their
// advertisements does not know this host yet. Where there is a password both forms are tried, for the kernel of a router drops without a
// word what is signed and was not to be, and the other way round.
func (k knock) speaks(ctx context.Context, ns *netns.NS) bool {
	return k.dial(ctx, ns, "") || k.password != "" && k.dial(ctx, ns, k.password)
}

func (k knock) dial(ctx context.Context, ns *netns.NS, password string) bool {
	fd := -1
	err := inside(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return false
	}
	file := os.NewFile(uintptr(fd), "bgp")
	defer file.Close()
	deadline := time.Now().Add(knockLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := file.SyscallConn()
	if err != nil || file.SetDeadline(deadline) != nil || ctx.Err() != nil {
		return false
	}
	begun := false
	answer := error(unix.ETIMEDOUT)
	err = raw.Write(func(uintptr) (done bool) {
		if !begun {
			begun = true
			answer = k.connect(fd, password)
			return !errors.Is(answer, unix.EINPROGRESS)
		}
		errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if answer = err; err == nil && errno != 0 {
			answer = unix.Errno(errno)
		}
		return true
	})
	return err == nil && answer == nil
}

// connect begins to connect.
func (k knock) connect(fd int, password string) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, gtsmHops); err != nil {
		return err
	}
	if password != "" {
		sig := unix.TCPMD5Sig{Addr: unix.SockaddrStorage{Family: unix.AF_INET6}, Keylen: uint16(min(len(password), len(unix.TCPMD5Sig{}.Key)))}
		copy(sig.Key[:], password)
		const addrAt = 6 // behind port and flow label (struct sockaddr_in6)
		for i, b := range k.peer.AsSlice() {
			sig.Addr.Data[addrAt+i] = b
		}
		if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: k.local.As16(), ZoneId: uint32(k.link.Index)}); err != nil {
		return err
	}
	return unix.Connect(fd, &unix.SockaddrInet6{Addr: k.peer.As16(), Port: bgpPort, ZoneId: uint32(k.link.Index)})
}
