package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// bed is where mistakes are made: copies of the sources, and the test programs.
type bed struct {
	tree, work string
	of         subject
}

// twin is a program that has a twin, and the tests that compare them.
type twin struct{ source, pkg, tests string }

// subject is where mistakes are made: the files that decide about packets, and their twins.
type subject struct {
	sources []string
	twins   []twin
}

// subjects are what mistakes can be made in.
var subjects = map[string]subject{
	"datapath": {sources, []twin{
		{"judge.c", "linux/datapath", "^(TestTwin|TestTwinPolicy|TestServicesForRealSockets|TestWaysAreKept)$"},
		{"connect_twin.c", "linux/datapath/connect", "^TestTwin"},
	}},
	"nat64": {[]string{"nat64.c", "include/bound.h", "include/nat64_flow.h", "include/nat64_way.h", "include/pool.h", "include/ways.h"}, []twin{{"nat64.c", "linux/nat64", "^(TestTwin|TestRFC768_.*|TestRFC7915_4_5_.*|TestBegun.*|TestWhatArrives.*|TestWaysOfFlowsAreKept|TestTCPAndUDPReachIPv4|TestPing|TestRFC7915_5_1_TracerouteSeesOneHop)$"}}},
}

func binary(pkg string) string { return strings.ReplaceAll(pkg, "/", "-") + ".test" }

// objectEnv is how a test is told of the program to compare.
const objectEnv = "HEXAPOD_TWIN_OBJECT"

// build makes the test programs.
func (b *bed) build(ctx context.Context) error {
	for _, t := range b.of.twins {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", filepath.Join(b.work, binary(t.pkg)), "./"+t.pkg)
		cmd.Dir = b.tree
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the tests of %s: %w\n%s", t.pkg, err, out)
		}
	}
	return nil
}

// refusedError is a mistake that cannot be run.
type refusedError struct{ by, why string }

func (e *refusedError) Error() string { return e.by + ": " + e.why }

// try makes a mistake, nil for none, and returns the test that noticed it; empty: none did.
func (b *bed) try(ctx context.Context, f *fault) (by string, err error) {
	dir := filepath.Join(b.work, "bpf")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(b.tree, "bpf"))); err != nil {
		return "", err
	}
	if f != nil {
		if err := f.makeIn(dir); err != nil {
			return "", err
		}
	}
	for _, t := range b.of.twins {
		if f != nil && t.source == "connect_twin.c" && f.file != "include/service.h" {
			continue // its program does not hold the line
		}
		object, err := compile(ctx, dir, t.source)
		if err != nil {
			return "", err
		}
		if out, failed, err := b.test(ctx, t.pkg, "^TestVerifier$", object); err != nil {
			return "", err
		} else if failed {
			return "", &refusedError{"the verifier", out}
		}
		if out, failed, err := b.test(ctx, t.pkg, t.tests, object); err != nil || failed {
			return firstFailure(out), err
		}
	}
	return "", nil
}

// test runs tests of a package with an object in place of the one that is built in.
func (b *bed) test(ctx context.Context, pkg, tests, object string) (out string, failed bool, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.work, binary(pkg)), "-test.run", tests, "-test.v", "-test.timeout", "10m")
	cmd.Dir, cmd.Env = filepath.Join(b.tree, pkg), append(os.Environ(), objectEnv+"="+object)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		return "", false, errors.Join(ctx.Err(), err)
	}
	return string(text), err != nil, nil
}

// makeIn changes one line of a copy.
func (f *fault) makeIn(dir string) error {
	path := filepath.Join(dir, f.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	lines[f.line-1] = f.new
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")), fs.FileMode(0o644))
}

// compile compiles a source as `make generate` does, warnings left alone.
func compile(ctx context.Context, dir, source string) (object string, err error) {
	object = filepath.Join(dir, source+".o")
	cmd := exec.CommandContext(ctx, "clang-14", "-O2", "-g", "-mcpu=v3", "-w", "-target", "bpfel", "-I", filepath.Join(dir, "include"),
		"-c", filepath.Join(dir, source), "-o", object)
	if out, err := cmd.CombinedOutput(); ctx.Err() != nil {
		return "", ctx.Err()
	} else if err != nil {
		return "", &refusedError{"the compiler", string(out)}
	}
	return object, nil
}

// firstFailure is the first test of an output that failed.
func firstFailure(out string) string {
	last := "a test that ended early"
	for line := range strings.Lines(out) {
		if _, name, ok := strings.Cut(line, "--- FAIL: "); ok {
			last, _, _ = strings.Cut(name, " ")
			if strings.Contains(last, "/") {
				return last
			}
		}
	}
	return last
}
