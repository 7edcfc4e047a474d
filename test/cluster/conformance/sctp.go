package conformance

import "golang.org/x/sys/unix"

// speaksSCTP asks the kernel, which is that of every node.
func speaksSCTP() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	return err == nil && unix.Close(fd) == nil
}
