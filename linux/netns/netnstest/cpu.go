package netnstest

import (
	"errors"

	"golang.org/x/sys/unix"
)

// OnOneCPU runs f on one CPU. The thread must be the caller's own, as it is inside Do: per-CPU maps are one map then.
func OnOneCPU(f func() error) error { return onCPUs(func(list []int) []int { return list[:1] }, f) }

// OnEachCPU runs f on every CPU in turn, as often as turns says. The thread must be the caller's own.
func OnEachCPU(turns int, f func() error) error {
	return onCPUs(func(list []int) (all []int) {
		for range turns {
			all = append(all, list...)
		}
		return all
	}, f)
}

// onCPUs runs f on each of the CPUs that are chosen of those the thread may use.
func onCPUs(choose func([]int) []int, f func() error) error {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	var list []int
	for cpu := 0; len(list) < before.Count(); cpu++ {
		if before.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	var err error
	for _, cpu := range choose(list) {
		var one unix.CPUSet
		one.Set(cpu)
		if err = unix.SchedSetaffinity(0, &one); err != nil {
			break
		}
		if err = f(); err != nil {
			break
		}
	}
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}
