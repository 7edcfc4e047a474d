// Package netns opens, makes and enters network namespaces.
//
// A namespace is an open file here: as long as an NS is open the kernel keeps the namespace, whatever happens to its
// path. Work inside a namespace is done by Do, on a thread that nothing else uses meanwhile.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadPath is the namespace of the calling thread; /proc/self would be that of the first thread of the process.
const threadPath = "/proc/thread-self/ns/net"

// NS is an open network namespace. Its owner closes it.
type NS struct {
	file *os.File
	name string
}

// ID tells namespaces apart: two paths lead to one namespace exactly when their IDs are equal.
type ID struct {
	Device uint64
	Inode  uint64
}

// Open opens the namespace at path, for example /run/netns/blue or /proc/1/ns/net.
// A path that is no network namespace is an error; a missing one is fs.ErrNotExist.
func Open(path string) (*NS, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would make us wait for its writer, fifo(7)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, fmt.Errorf("network namespace %s: the path is something else, not a network namespace", path)
	}
	return &NS{file: f, name: path}, nil
}

// Current opens the namespace of the calling thread, which is that of the process unless the caller changed it.
func Current() (*NS, error) { return Open(threadPath) }

// Close gives the file up. The namespace lives on while a process, a pin or another file holds it.
func (n *NS) Close() error { return n.file.Close() }

// FD is the open descriptor, for messages that name a namespace by it. It stays owned by n.
func (n *NS) FD() int { return int(n.file.Fd()) }

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
		back, err := os.Open(threadPath)
		if err != nil {
			return false, fmt.Errorf("network namespace of this thread: %w", err)
		}
		defer back.Close()
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			return false, fmt.Errorf("enter network namespace %s (root or CAP_SYS_ADMIN is needed): %w", n, err)
		}
		stay, err = true, errLeft
		defer func() { stay = unix.Setns(int(back.Fd()), unix.CLONE_NEWNET) != nil }()
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
