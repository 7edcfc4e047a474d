// Package labtest builds the programs that labs of a test run, and skips tests where there can be no lab.
package labtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"hexapod.dev/lab"
	"hexapod.dev/linux/netns/netnstest"
)

// Programs builds hexapod and hexapod-cni once for each test program and returns their folder. Main removes it.
func Programs(t testing.TB) string {
	t.Helper()
	netnstest.Root(t)
	if err := lab.Preflight(); err != nil {
		t.Fatal(err)
	}
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var build = sync.OnceValues(func() (string, error) {
	dir := os.Getenv(folder)
	for _, name := range []string{"hexapod", "hexapod-cni"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), "hexapod.dev/cmd/"+name)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// folder names the variable of the environment by which Main and Programs know the folder.
const folder = "HEXAPOD_LABTEST_PROGRAMS"

// labsAtOnce is how many tests with labs run at a time: most of their time they wait for timers of protocols.
const labsAtOnce = 3

// Main is the body of TestMain in a package that calls Programs.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	netnstest.SideBySide(labsAtOnce)
	dir, err := os.MkdirTemp("", "hexapod-labtest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv(folder, dir)
	return m.Run()
}

// Router skips a test where the routers of a kind are not installed; with HEXAPOD_ROOT=1 that is a failure.
func Router(t testing.TB, kind lab.RouterKind) {
	t.Helper()
	err := kind.Check()
	switch {
	case err == nil:
	case os.Getenv("HEXAPOD_ROOT") == "1":
		t.Fatalf("%v (see test/packages.txt)", err)
	default:
		t.Skip(err)
	}
}
