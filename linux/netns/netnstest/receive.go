package netnstest

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Receive is unix.Recvfrom that waits on where a signal came, as that of a child that ended does: the kernel goes on by itself only on
// sockets without a time-out (signal(7)).
func Receive(fd int, b []byte) (n int, from unix.Sockaddr, err error) {
	for {
		n, from, err = unix.Recvfrom(fd, b, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, from, err
		}
	}
}
