package main

import (
	"syscall"
	"unsafe"

	"hexapod.dev/edge/cni/wire"
)

// agentSocket is a connection whose waits end at one moment.
type agentSocket struct {
	fd  int
	end int64 // milliseconds of wire.UptimeMillis
}

// dial connects to a unix stream socket. A full backlog is EAGAIN (connect(2)).
func dial(path string, end int64) (agentSocket, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return agentSocket{}, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		syscall.Close(fd)
		return agentSocket{}, err
	}
	return agentSocket{fd, end}, nil
}

func (s agentSocket) close() { syscall.Close(s.fd) }

// write sends everything, or fails with ETIMEDOUT.
func (s agentSocket) write(data []byte) error {
	for len(data) > 0 {
		n, err := write(s.fd, data)
		data = data[n:]
		if err == syscall.EAGAIN {
			err = s.await(pollOut)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readLine reads to the first line feed or to the end, at most limit bytes, or fails with ETIMEDOUT.
func (s agentSocket) readLine(limit int) ([]byte, error) {
	buffer := make([]byte, 4096)
	for n := 0; ; {
		if n == len(buffer) {
			buffer = append(buffer, make([]byte, n)...)
		}
		if err := s.await(pollIn); err != nil {
			return buffer[:n], err
		}
		k, err := read(s.fd, buffer[n:])
		n += k
		switch {
		case err == syscall.EAGAIN:
		case err != nil:
			return buffer[:n], err
		case k == 0 || buffer[n-1] == '\n':
			return buffer[:n], nil
		case n > limit:
			return buffer[:n], errTooLong
		}
	}
}

// Events of poll(2).
const (
	pollIn  = 1
	pollOut = 4
)

// await waits until the socket is ready or broken, or fails with ETIMEDOUT. SIGURG is held back meanwhile: Go sends it every 10 ms to a
// thread that it believes to be busy, and each would end the wait.
func (s agentSocket) await(events int16) error {
	const sigsetBytes = 8
	urgent := uint64(1) << (syscall.SIGURG - 1)
	for {
		left := s.end - wire.UptimeMillis()
		if left <= 0 {
			return syscall.ETIMEDOUT
		}
		poll := struct {
			fd              int32
			events, revents int16
		}{fd: int32(s.fd), events: events}
		limit := syscall.NsecToTimespec(left * 1e6)
		n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1,
			uintptr(unsafe.Pointer(&limit)), uintptr(unsafe.Pointer(&urgent)), sigsetBytes, 0)
		switch {
		case errno == 0 && n > 0:
			return nil
		case errno != 0 && errno != syscall.EINTR:
			return errno
		}
	}
}
