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
	if s.Whole {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount proc: %w", err)
		}
	}
	for _, b := range s.Binds {
		if err := b.ensureTarget(); err != nil {
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
	cgroups := s.subtree
	if s.Whole {
		cgroups = s.wholeCgroups
	}
	if err := cgroups(); err != nil {
		return err
	}
	if _, err := os.Stat("/sys/fs/bpf"); errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without bpf(2); nothing in a lab without eBPF needs it
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs: %w", err)
	}
	return nil
}

// subtree shows the machine its part of cgroup2 as all there is.
func (s Spec) subtree() error {
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
	return nil
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s as %s: %w", from, to, err)
	}
	return nil
}

// ensureTarget makes the name appear that b is shown under: a folder, or an empty file for a file.
func (b Bind) ensureTarget() error {
	from, err := os.Stat(b.From)
	if err != nil {
		return fmt.Errorf("show %s as %s: %w", b.From, b.To, err)
	}
	return ensure(b.To, from.IsDir())
}

// below is the folder of a covering tmpfs that shows what it covers.
const below = ".machine"

// ensure makes a folder or file appear without writing to the machine's disk: where it does not exist, its parent is covered by a
// tmpfs with a link to each thing that was there.
func ensure(path string, folder bool) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := ensure(parent, true); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(parent, below)); errors.Is(err, fs.ErrNotExist) {
		if err := cover(parent); err != nil {
			return err
		}
	}
	if folder {
		return os.Mkdir(path, 0o755)
	}
	return os.WriteFile(path, nil, 0o644)
}

func cover(dir string) error {
	// A copy of the mounts below, taken before they are covered: in a container, files of /etc are mounts of their own.
	original, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("copy the mounts of %s: %w", dir, err)
	}
	defer unix.Close(original)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("cover %s: %w", dir, err)
	}
	kept := filepath.Join(dir, below)
	if err := os.Mkdir(kept, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", kept, err)
	}
	if err := unix.MoveMount(original, "", unix.AT_FDCWD, kept, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("keep the machine's %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(below, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("link %s: %w", e.Name(), err)
		}
	}
	return nil
}
