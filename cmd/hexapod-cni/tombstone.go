package main

import (
	"strconv"
	"syscall"

	"hexapod.dev/edge/cni/wire"
)

// bury writes a tombstone so that it is whole and on disk, or not there: a new file, synced, renamed, the folder synced. It returns the
// path it could not write.
func bury(stateDir string, t wire.Tombstone) (string, error) {
	folder := stateDir + "/" + wire.TombstoneDir
	if err := makeFolder(folder); err != nil {
		return folder, err
	}
	path := folder + "/" + t.FileName()
	// Each process has its own draft; two deletes of one endpoint rename the same content. Readers pass over names that start with a dot.
	draft := folder + "/." + t.FileName() + "." + strconv.Itoa(syscall.Getpid())
	if err := writeFile(draft, t.Append(nil)); err != nil {
		syscall.Unlink(draft)
		return draft, err
	}
	if err := syscall.Rename(draft, path); err != nil {
		syscall.Unlink(draft)
		return path, err
	}
	return folder, syncFolder(folder)
}

func writeFile(path string, content []byte) error {
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = writeAll(fd, content)
	if err == nil {
		err = syscall.Fsync(fd)
	}
	if closeErr := syscall.Close(fd); err == nil {
		err = closeErr
	}
	return err
}

func syncFolder(path string) error {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return syscall.Fsync(fd)
}

// makeFolder makes a folder and what is missing above it. A new folder is on disk when the one above it is synced.
func makeFolder(path string) error {
	err := syscall.Mkdir(path, 0o700)
	if err == syscall.EEXIST {
		return nil
	}
	above := parent(path)
	if err == syscall.ENOENT && above != path {
		if err := makeFolder(above); err != nil {
			return err
		}
		if err = syscall.Mkdir(path, 0o700); err == syscall.EEXIST {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return syncFolder(above)
}

// parent is the folder above an absolute path.
func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return "/"
}
