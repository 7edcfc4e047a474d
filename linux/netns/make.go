package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where iproute2 looks for named namespaces (ip-netns(8)).
const Dir = "/run/netns"

// Anonymous makes a namespace without a name. It ends when it is closed and nothing else holds it.
func Anonymous() (*NS, error) {
	var n *NS
	err := onThread(func() (bool, error) {
		if err := unshare(); err != nil {
			return false, err
		}
		var err error
		n, err = Open(threadPath)
		return true, err
	})
	return n, err
}

// New makes a namespace and pins it at a path; a bare name means Dir/name, which `ip netns` lists.
// The pin keeps the namespace without any process until Delete. An existing path is fs.ErrExist.
func New(name string) (*NS, error) {
	path := Pin(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", path, err)
	}
	f.Close()
	err = onThread(func() (bool, error) {
		if err := unshare(); err != nil {
			return false, err
		}
		if err := unix.Mount(threadPath, path, "", unix.MS_BIND, ""); err != nil {
			return true, fmt.Errorf("pin network namespace at %s: %w", path, err)
		}
		return true, nil
	})
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return Open(path)
}

// Delete removes the pin at a path (a bare name means Dir/name). A missing one is no error.
func Delete(name string) error {
	path := Pin(name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete network namespace %s: %w", path, err)
	}
	return nil
}

// Pin is the path of a namespace by its name: the name itself when it is a path already.
func Pin(name string) string {
	if strings.ContainsRune(name, '/') {
		return name
	}
	return filepath.Join(Dir, name)
}

func unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace (root or CAP_SYS_ADMIN is needed): %w", err)
	}
	return nil
}
