// Command guest is the first process of a test machine. It mounts what tests need, inserts modules, runs each step of its plan, says how it
// went, and powers the machine off.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/test/kernels/plan"
)

func main() {
	failed, err := run()
	switch {
	case err != nil:
		fmt.Println(plan.Failed + err.Error())
	case len(failed) > 0:
		fmt.Println(plan.Failed + strings.Join(failed, ", "))
	default:
		fmt.Println(plan.Passed)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("guest: power off:", err)
	}
}

// mounts are what tests and agents find on a host.
var mounts = []struct{ what, where string }{
	{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	{"cgroup2", "/sys/fs/cgroup"}, {"bpf", "/sys/fs/bpf"},
}

func run() (failed []string, err error) {
	for _, m := range mounts {
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	body, err := os.ReadFile(plan.File)
	if err != nil {
		return nil, err
	}
	var g plan.Guest
	if err := json.Unmarshal(body, &g); err != nil {
		return nil, fmt.Errorf("%s: %w", plan.File, err)
	}
	for _, m := range g.Modules {
		if err := insert(m); err != nil {
			return nil, fmt.Errorf("insert %s: %w", m, err)
		}
	}
	for name, value := range map[string]string{"PATH": "/bin", "HOME": "/root", "HEXAPOD_ROOT": "1", "TMPDIR": "/tmp"} {
		os.Setenv(name, value)
	}
	for _, s := range g.Steps {
		begin := time.Now()
		err := step(s)
		verdict := "passed"
		if err != nil {
			verdict = "FAILED: " + err.Error()
			failed = append(failed, s.Name)
		}
		fmt.Printf("guest: %s: %s in %.1f s\n", s.Name, verdict, time.Since(begin).Seconds())
	}
	return failed, nil
}

func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// step runs one step. What it wrote is shown when it failed.
func step(s plan.Step) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.Limit)
	defer cancel()
	words := s.Args
	dir := "/tmp"
	if s.Package != "" {
		words = append([]string{s.Program()}, s.Args...)
		dir = s.Dir()
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), s.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		fmt.Printf("%s\n", out)
	}
	return err
}
