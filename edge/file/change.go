package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"hexapod.dev/edge/file/whole"
)

// change lets one caller at a time, of all processes, change a folder that is right: it is locked, read, given to with, and unlocked.
func change(dir string, with func(folder, Set) error) (err error) {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	f, err := readFolder(dir)
	if err != nil {
		return err
	}
	s, err := f.set()
	if err != nil {
		return err
	}
	return with(f, s)
}

// lock holds the folder itself: a lock file would have to be left behind (flock(2) goes by inode).
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock configuration folder: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock configuration folder %s: %w", dir, err), f.Close())
	}
	return f.Close, nil // the lock goes with the last descriptor
}

// write puts one file into the folder, if the folder is right with it.
func (f folder) write(t fileText) error {
	next := folder{f.dir, slices.DeleteFunc(slices.Clone(f.files), func(o fileText) bool { return o.name == t.name })}
	next.files = append(next.files, t)
	if _, err := next.set(); err != nil {
		return fmt.Errorf("write %s: the folder would be wrong: %w", t.name, err)
	}
	path := filepath.Join(f.dir, t.name)
	mode := os.FileMode(0o644)
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("write %s: it is a link; change the file it points to", path)
		}
		mode = info.Mode().Perm()
	}
	return whole.Write(path, t.data, mode)
}
