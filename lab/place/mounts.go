package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mounts gives the place its own view of the folders that belong to one machine. /run comes last, because the sources of the others lie in it.
func (s Spec) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	for _, b := range s.Binds {
		if err := ensureFolder(b.To); err != nil {
			return err
		}
		if err := bind(b.From, b.To); err != nil {
			return err
		}
	}
	// /run of the machine may be a link target or busy; a bind over it needs neither to move.
	if err := bind(s.Run, "/run"); err != nil {
		return err
	}
	for _, dir := range []string{"/run/netns", "/run/hexapod"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	return s.kernelFolders()
}

// kernelFolders mounts sysfs, cgroup2 and bpffs anew: sysfs shows the links of the namespace it was mounted in, and a new bpffs is empty.
func (s Spec) kernelFolders() error {
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	const stage = "/run/cgroup2"
	if err := os.Mkdir(stage, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", stage, err)
	}
	if err := unix.Mount("cgroup2", stage, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	err := bind(filepath.Join(stage, s.Cgroup), "/sys/fs/cgroup")
	if err := errors.Join(err, unix.Unmount(stage, 0), os.Remove(stage)); err != nil {
		return fmt.Errorf("show the machine its own cgroup: %w", err)
	}
	if _, err := os.Stat("/sys/fs/bpf"); errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without bpf(2); nothing in a lab without eBPF needs it
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs: %w", err)
	}
	return nil
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s as %s: %w", from, to, err)
	}
	return nil
}

// ensureFolder makes dir appear without writing to the machine's disk: where it does not exist, its parent is covered by a
// tmpfs with a link to each thing that was there.
func ensureFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := ensureFolder(parent); err != nil {
		return err
	}
	// A copy of the mounts below, taken before they are covered: in a container, files of /etc are mounts of their own.
	original, err := unix.OpenTree(unix.AT_FDCWD, parent, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("copy the mounts of %s: %w", parent, err)
	}
	defer unix.Close(original)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("list %s: %w", parent, err)
	}
	if err := unix.Mount("tmpfs", parent, "tmpfs", 0, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("cover %s: %w", parent, err)
	}
	const below = ".machine"
	kept := filepath.Join(parent, below)
	if err := os.Mkdir(kept, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", kept, err)
	}
	if err := unix.MoveMount(original, "", unix.AT_FDCWD, kept, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("keep the machine's %s: %w", parent, err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(below, e.Name()), filepath.Join(parent, e.Name())); err != nil {
			return fmt.Errorf("link %s: %w", e.Name(), err)
		}
	}
	return os.Mkdir(dir, 0o755)
}
