package work

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Verb is how a program of a benchmark is called as a client or a server: it hands what follows to Worker.
const Verb = "worker"

// page is the memory that a measurement and its workers share.
type page struct {
	run  atomic.Uint32 // 1: clients work
	done atomic.Uint64 // pieces of work, counted by whoever sees the end of one
	sent atomic.Uint32 // rounds of datagrams; the server sleeps on it
}

func mapPage(f *os.File) (*page, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*page)(unsafe.Pointer(&b[0])), nil
}

// pageFD is where a worker has the page: behind stdin, stdout and stderr.
const pageFD = 3

// Port is where servers listen.
const Port = 7000

// Worker is one end of one kind of work, until it is killed. System calls are raw: Go's own waiting would hide what a packet costs.
func Worker(args []string) error {
	if len(args) != 4 {
		return errors.New("want: KIND client|server ADDRESS CPU")
	}
	addr, err := netip.ParseAddr(args[2])
	if err != nil {
		return err
	}
	cpu, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1) // nothing is allocated, and a stop of the world would wait for a raw call
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	p, err := mapPage(os.NewFile(pageFD, "page"))
	if err != nil {
		return err
	}
	w := &worker{page: p, to: unix.SockaddrInet6{Port: Port, Addr: addr.As16()}}
	k, err := kindOf(args[0])
	if err != nil {
		return err
	}
	if args[1] == "server" {
		return k.server(w)
	}
	return k.client(w)
}

type worker struct {
	page *page
	to   unix.SockaddrInet6
	buf  [1 << 20]byte
}

// kind is one kind of work.
type kind struct {
	name           string
	unit           string
	client, server func(*worker) error
}

// kinds are all kinds of work.
var kinds = []kind{
	{"request-response", "transactions", (*worker).ask, (*worker).answer},
	{"udp 64 bytes", "packets", (*worker).blast, (*worker).sink},
	{"connections", "connections", (*worker).connect, (*worker).accept},
	{"one stream", "bytes", (*worker).pour, (*worker).drain},
}

func kindOf(name string) (kind, error) {
	at := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if at < 0 {
		return kind{}, fmt.Errorf("there is no kind of work %q", name)
	}
	return kinds[at], nil
}

// idle waits until clients work. It is asked a thousand times a second: who waits must cost nothing.
func (w *worker) idle() {
	for w.page.run.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
}

func recv(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return int(n), errno
}

func send(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// stream opens a TCP socket to the server.
func (w *worker) stream() (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, &w.to)
}

// listen opens the server's socket.
func (w *worker) listen(typ int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &w.to)); err != nil {
		return -1, err
	}
	if typ == unix.SOCK_STREAM {
		err = unix.Listen(fd, 128)
	}
	_, _ = os.Stdout.WriteString("ready\n")
	return fd, err
}

// next takes one connection.
func next(fd int) (int, error) {
	got, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(got), unix.SetsockoptInt(int(got), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

func (w *worker) ask() error {
	fd, err := w.stream()
	if err != nil {
		return err
	}
	for b := w.buf[:1]; ; {
		w.idle()
		if _, errno := send(fd, b); errno != 0 {
			return errno
		}
		if n, errno := recv(fd, b); errno != 0 || n != 1 {
			return fmt.Errorf("answer of %d bytes: %w", n, errno)
		}
		w.page.done.Add(1)
	}
}

func (w *worker) answer() error {
	at, err := w.listen(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	fd, err := next(at)
	if err != nil {
		return err
	}
	for b := w.buf[:1]; ; {
		if n, errno := recv(fd, b); errno != 0 || n != 1 {
			return errno
		}
		if _, errno := send(fd, b); errno != 0 {
			return errno
		}
	}
}

func (w *worker) connect() error {
	for b := w.buf[:1]; ; {
		w.idle()
		fd, err := w.stream()
		if err != nil {
			return err
		}
		if _, errno := send(fd, b); errno != 0 {
			return errno
		}
		if n, errno := recv(fd, b); errno != 0 || n != 1 {
			return fmt.Errorf("answer of %d bytes: %w", n, errno)
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
		w.page.done.Add(1)
	}
}

func (w *worker) accept() error {
	at, err := w.listen(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	for b := w.buf[:1]; ; {
		fd, err := next(at)
		if err != nil {
			return err
		}
		if n, errno := recv(fd, b); errno == 0 && n == 1 {
			send(fd, b)
			recv(fd, b) // until the client has closed
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
}

func (w *worker) pour() error {
	fd, err := w.stream()
	if err != nil {
		return err
	}
	for {
		w.idle()
		if _, errno := send(fd, w.buf[:256<<10]); errno != 0 {
			return errno
		}
	}
}

func (w *worker) drain() error {
	at, err := w.listen(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	fd, err := next(at)
	if err != nil {
		return err
	}
	for {
		n, errno := recv(fd, w.buf[:])
		if errno != 0 || n == 0 {
			return errno
		}
		w.page.done.Add(uint64(n))
	}
}
