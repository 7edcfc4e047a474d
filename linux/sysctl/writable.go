package sysctl

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// MakeWritable makes /proc/sys writable for this process and those that share its mount namespace, where a container runtime has
// mounted it read-only. Whoever writes there needs the rights for it all the same. It needs CAP_SYS_ADMIN, and does nothing where
// /proc/sys is writable already.
func MakeWritable() error { return makeWritable("/proc/sys") }

func makeWritable(root string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil {
		return fmt.Errorf("look at %s: %w", root, err)
	}
	if s.Flags&unix.ST_RDONLY == 0 {
		return nil
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
	for _, f := range []struct {
		have int64
		flag uintptr
	}{{unix.ST_NOSUID, unix.MS_NOSUID}, {unix.ST_NODEV, unix.MS_NODEV}, {unix.ST_NOEXEC, unix.MS_NOEXEC}, {unix.ST_RELATIME, unix.MS_RELATIME}} {
		if s.Flags&f.have != 0 {
			flags |= f.flag
		}
	}
	err := unix.Mount("", root, "", flags, "")
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%s is read-only, and making it writable is not allowed: give the container CAP_SYS_ADMIN and an AppArmor profile that lets it mount: %w", root, err)
	}
	if err != nil {
		return fmt.Errorf("make %s writable: %w", root, err)
	}
	return nil
}
