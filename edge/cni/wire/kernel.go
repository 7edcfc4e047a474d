package wire

import (
	"syscall"
	"unsafe"
)

const clockBoottime = 7 // CLOCK_BOOTTIME, clock_gettime(2)

// UptimeMillis is the time since boot, suspend included.
func UptimeMillis() int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano() / 1e6
}

// Now is the present beat. Without /proc the boot is unknown, and an unknown boot never covers a restart.
func Now() Beat {
	fd, err := syscall.Open("/proc/sys/kernel/random/boot_id", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return Beat{Millis: UptimeMillis()}
	}
	defer syscall.Close(fd)
	var id [64]byte
	n, err := syscall.Read(fd, id[:])
	if err != nil || n < 2 {
		return Beat{Millis: UptimeMillis()}
	}
	return Beat{Boot: string(id[:n-1]), Millis: UptimeMillis()} // the line feed stays behind
}
