// Package leftover takes away what the agents of a benchmark leave on purpose: the BPF file systems that keep their programs alive.
package leftover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Remove removes a benchmark's folder. BPF file systems outlive the agent that made one in its run folder, DIR/run/bpf, as its
// programs do; a folder with one mounted in it cannot be removed.
func Remove(folder string) error {
	mounts, err := filepath.Glob(filepath.Join(folder, "*", "run", "bpf"))
	for _, m := range mounts {
		if e := syscall.Unmount(m, syscall.MNT_DETACH); e != nil && !errors.Is(e, syscall.EINVAL) { // EINVAL: none is mounted there
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", m, e))
		}
	}
	return errors.Join(err, os.RemoveAll(folder))
}
