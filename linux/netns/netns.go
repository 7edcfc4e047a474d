// Package netns opens, makes and enters network namespaces.
//
// A namespace is an open file here: as long as an NS is open the kernel keeps the namespace, whatever happens to its
// path. Work inside a namespace is done by Do, on a thread that nothing else uses meanwhile.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadPath is the namespace of the calling thread; /proc/self would be that of the first thread of the process.
const threadPath = "/proc/thread-self/ns/net"

// NS is an open network namespace. Its owner closes it.
type NS struct {
	fd   int // -1: closed
	name string
	lost runtime.Cleanup // closes fd if nobody did
}

// ID tells namespaces apart: two paths lead to one namespace exactly when their IDs are equal.
type ID struct {
	Device uint64
	Inode  uint64
}

// Open opens the namespace at path, for example /run/netns/blue or /proc/1/ns/net.
// A path that is no network namespace is an error; a missing one is fs.ErrNotExist.
func Open(path string) (*NS, error) {
	fd, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		unix.Close(fd)
		return nil, fmt.Errorf("network namespace %s: the path is something else, not a network namespace", path)
	}
	n := &NS{fd: fd, name: path}
	n.lost = runtime.AddCleanup(n, func(fd int) { unix.Close(fd) }, fd)
	return n, nil
}

// openFile opens a file that nobody waits for: package os would offer it to its poller, at the cost of four system calls. A pipe would
// make us wait for its writer (fifo(7)).
func openFile(path string) (fd int, err error) {
	for {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// Current opens the namespace of the calling thread, which is that of the process unless the caller changed it.
func Current() (*NS, error) { return Open(threadPath) }

// Close gives the file up. The namespace lives on while a process, a pin or another file holds it.
func (n *NS) Close() error {
	if n.fd < 0 {
		return fmt.Errorf("network namespace %s: %w", n.name, fs.ErrClosed)
	}
	n.lost.Stop()
	err := unix.Close(n.fd)
	n.fd = -1
	return err
}

// FD is the open descriptor, for messages that name a namespace by it. It stays owned by n.
func (n *NS) FD() int { return n.fd }

// Path is a path that leads to the namespace while n is open, also when it has no name in the file system.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.FD()) }

// String is the path the namespace was opened by.
func (n *NS) String() string { return n.name }

// ID is the identity of the namespace.
func (n *NS) ID() (ID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(n.FD(), &st); err != nil {
		return ID{}, fmt.Errorf("network namespace %s: %w", n, err)
	}
	return ID{Device: uint64(st.Dev), Inode: st.Ino}, nil
}

// errLeft is returned when the function given to Do ended its goroutine, as testing.T.FailNow does.
var errLeft = errors.New("the function ended its goroutine")

// Do runs f inside the namespace and returns what f returns.
//
// f runs on another goroutine, locked to a thread of its own: goroutines that f starts are outside again, programs it
// starts are inside. When the thread cannot go back, it ends with the goroutine and takes the namespace with it.
func (n *NS) Do(f func() error) error {
	return onThread(func() (stay bool, err error) {
		back, err := openFile(threadPath)
		if err != nil {
			return false, fmt.Errorf("network namespace of this thread: %w", err)
		}
		defer unix.Close(back)
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			return false, fmt.Errorf("enter network namespace %s (root or CAP_SYS_ADMIN is needed): %w", n, err)
		}
		stay, err = true, errLeft
		defer func() { stay = unix.Setns(back, unix.CLONE_NEWNET) != nil }()
		err = f()
		return stay, err
	})
}

// onThread runs f on a locked thread and waits for it. f says whether the thread has to die (stay: it stayed in a
// foreign namespace); it also dies when f ended its goroutine.
func onThread(f func() (stay bool, err error)) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread cannot die, and /proc/self shows its namespace: it waits while another one works.
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		stay, err := true, errLeft
		defer func() {
			if !stay {
				runtime.UnlockOSThread()
			}
			done <- err
		}()
		stay, err = f()
	}()
	return <-done
}
