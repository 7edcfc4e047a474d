package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/child"
)

// socketBuffer is the room in bytes for questions that come while a child is replaced.
const socketBuffer = 4 << 20

// open opens the sockets of a new child. The agent keeps them open too: while a child is replaced, questions wait in them.
func (r *Resolver) open(at netip.Addr, had []child.Named) ([]child.Named, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sockets) == 0 || r.socketsAt() != at {
		closeNamed(r.sockets)
		r.sockets = nil
		for _, f := range had { // of a child that left: they hold questions that came meanwhile
			if file, err := dup(f.File); err == nil {
				r.sockets = append(r.sockets, child.Named{Name: f.Name, File: file})
			}
		}
		if len(r.sockets) > 0 && r.socketsAt() != at {
			closeNamed(r.sockets)
			r.sockets = nil
		}
	}
	if len(r.sockets) == 0 {
		var err error
		if r.sockets, err = r.listen(netip.AddrPortFrom(at, Port)); err != nil {
			return nil, err
		}
	}
	copies := make([]child.Named, 0, len(r.sockets))
	for _, s := range r.sockets {
		file, err := dup(s.File)
		if err != nil {
			closeNamed(copies)
			return nil, err
		}
		copies = append(copies, child.Named{Name: s.Name, File: file})
	}
	return copies, nil
}

// borrow takes copies of the sockets of a child that an earlier agent started, so that questions wait in them if it is killed.
func (r *Resolver) borrow(ctx context.Context, of child.Spec) error {
	r.mu.Lock()
	has := len(r.sockets) > 0
	r.mu.Unlock()
	if has {
		return nil
	}
	lent, err := of.Lend(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets = lent // one keeper runs at a time, and nobody else opens any
	return err
}

// socketsAt is the address of the sockets. The caller holds mu.
func (r *Resolver) socketsAt() netip.Addr {
	sa, err := unix.Getsockname(int(r.sockets[0].File.Fd()))
	if six, ok := sa.(*unix.SockaddrInet6); ok && err == nil {
		return netip.AddrFrom16(six.Addr)
	}
	return netip.Addr{}
}

// listen opens the sockets at an address: a UDP socket for each processor, between which the kernel divides the clients, and one
// for TCP.
func (r *Resolver) listen(at netip.AddrPort) (files []child.Named, err error) {
	control := func(_, _ string, c syscall.RawConn) error {
		var errs []error
		err := c.Control(func(fd uintptr) {
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer))
		})
		return errors.Join(append(errs, err)...)
	}
	l := net.ListenConfig{Control: control}
	open := func() error {
		for i := range min(4, runtime.NumCPU()) {
			c, err := l.ListenPacket(context.Background(), "udp6", at.String())
			if err != nil {
				return fmt.Errorf("DNS at %s: %w; another server may have the port", at, err)
			}
			f, err := c.(*net.UDPConn).File()
			if err = errors.Join(err, c.Close()); err != nil {
				return err
			}
			files = append(files, child.Named{Name: fmt.Sprintf("udp-%d", i), File: f})
		}
		t, err := l.Listen(context.Background(), "tcp6", at.String())
		if err != nil {
			return fmt.Errorf("DNS at %s: %w; another server may have the port", at, err)
		}
		f, err := t.(*net.TCPListener).File()
		if err = errors.Join(err, t.Close()); err != nil {
			return err
		}
		files = append(files, child.Named{Name: "tcp-0", File: f})
		return nil
	}
	if r.options.NS != nil {
		err = r.options.NS.Do(open)
	} else {
		err = open()
	}
	if err != nil {
		closeNamed(files)
		return nil, err
	}
	return files, nil
}

func (r *Resolver) closeSockets() {
	r.mu.Lock()
	defer r.mu.Unlock()
	closeNamed(r.sockets)
	r.sockets, r.keeper = nil, nil
}

func closeNamed(list []child.Named) {
	for _, n := range list {
		n.File.Close()
	}
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
