package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hexapod.dev/test/kernels/plan"
)

// bootLimit bounds one machine, from power on to power off.
const bootLimit = 30 * time.Minute

// try boots a kernel and runs all steps on it. What fails is printed.
func try(ctx context.Context, work string, k kernel, programs map[string]string, steps []plan.Step) error {
	initrd := filepath.Join(work, "initrd-"+k.release)
	if err := image(ctx, initrd, k, programs, steps); err != nil {
		return err
	}
	defer os.Remove(initrd)
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "2048",
		"-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", k.image, "-initrd", initrd,
		// An emulated processor is no place to look for others' faults; and a panic ends the machine.
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (Debian: qemu-system-x86)", err)
	}
	verdict := watch(out)
	err = cmd.Wait()
	if verdict != nil {
		return errors.Join(verdict, err)
	}
	fmt.Printf("kernels: %s passed in %d s\n", k.release, int(time.Since(begin).Seconds()))
	return err
}

// watch prints the console and returns nil when the first process said that all has passed.
func watch(console io.Reader) error {
	verdict := errors.New("the machine ended without a verdict: its kernel did not come up, or died")
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Println("  " + line)
		if what, failed := strings.CutPrefix(line, plan.Failed); failed {
			verdict = errors.New(what)
		} else if line == plan.Passed {
			verdict = nil
		}
	}
	return verdict
}
