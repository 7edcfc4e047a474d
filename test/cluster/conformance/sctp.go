package conformance

import "syscall"

// ipprotoSCTP is the number of SCTP (RFC 9260).
const ipprotoSCTP = 132

// speaksSCTP asks the kernel, which is that of every node.
func speaksSCTP() bool {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, ipprotoSCTP)
	return err == nil && syscall.Close(fd) == nil
}
