package main

import (
	"errors"
	"syscall"
	"unsafe"
)

var errTooLong = errors.New("it is longer than 1 MiB")

// read is read(2) without a word to the scheduler: this program has nothing else to run, and a blocking call that the scheduler knows
// of makes it start another thread.
func read(fd int, buffer []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// readAll reads to the end, at most limit bytes.
func readAll(fd int, limit int) ([]byte, error) {
	buffer := make([]byte, 4096)
	for n := 0; ; {
		if n == len(buffer) {
			buffer = append(buffer, make([]byte, n)...)
		}
		k, err := read(fd, buffer[n:])
		n += k
		switch {
		case err != nil:
			return nil, err
		case n > limit:
			return nil, errTooLong
		case k == 0:
			return buffer[:n], nil
		}
	}
}

// write is write(2), called like read. A reader that went away is an error: Go catches SIGPIPE, and only package os would die of it.
func write(fd int, data []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := write(fd, data)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func sleep(millis int64) {
	left := syscall.NsecToTimespec(millis * 1e6)
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	return readAll(fd, 4096)
}
