package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
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
	return replace(path, t.data, mode)
}

// replace writes a file so that after a power cut it is the old or the new one: the bytes are on disk before the name points
// to them, and the name is on disk before the caller goes on.
func replace(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".hexapod-*") // Load leaves out names with a dot
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
