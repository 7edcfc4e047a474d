// Command kernels boots other kernels than that of this machine, in qemu and without KVM, and runs the tests of the datapath there.
//
// A kernel comes from a Debian package that is downloaded once and never installed. The machine has no disk: an archive in memory
// holds the modules, the test programs, the few tools that they run, and a first process that runs them (guest).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"hexapod.dev/test/kernels/plan"
)

const usage = `Usage: kernels [-step PATTERN] [PACKAGE..]

Boots the kernel of each Debian package (default: linux-image-cloud-amd64, which is Linux 6.1 in Debian 12) and runs the tests of
the datapath on it. Needs qemu-system-x86 and Debian's apt-get.
`

// defaultPackage depends on the newest kernel of the distribution.
const defaultPackage = "linux-image-cloud-amd64"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	only := flags.String("step", ".", "run the steps whose name matches")
	if err := flags.Parse(args); err != nil {
		return err
	}
	steps, err := choose(*only)
	if err != nil {
		return err
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = []string{defaultPackage}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "hexapod-kernels-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	programs, err := build(ctx, work, steps)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range packages {
		k, err := fetch(ctx, filepath.Join(cache, "hexapod-kernels"), p)
		if err == nil {
			err = try(ctx, work, k, programs, steps)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

func choose(pattern string) ([]plan.Step, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-step: %w", err)
	}
	var steps []plan.Step
	for _, s := range plan.Steps {
		if match.MatchString(s.Name) {
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("-step %s: no step has such a name", pattern)
	}
	return steps, nil
}
