package netnstest

import (
	"errors"

	"golang.org/x/sys/unix"
)

// OnOneCPU runs f on one CPU. The thread must be the caller's own, as it is inside Do: per-CPU maps are one map then.
func OnOneCPU(f func() error) error {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}
