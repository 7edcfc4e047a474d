// Package netnstest gives tests network namespaces of their own.
package netnstest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"hexapod.dev/linux/netns"
)

// Root skips the test without root. With HEXAPOD_ROOT=1 in the environment the missing root is a failure.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("HEXAPOD_ROOT") == "1" {
		t.Fatal("HEXAPOD_ROOT=1 is set, but this is not root")
	}
	t.Skip("needs root (set HEXAPOD_ROOT=1 to make that a failure)")
}

// New makes an empty namespace without a name, lo down. It is gone after the test, also after a failed one.
func New(t testing.TB) *netns.NS {
	t.Helper()
	Root(t)
	ns, err := netns.Anonymous()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// Do runs f inside ns and fails the test with its error.
func Do(t testing.TB, ns *netns.NS, f func() error) {
	t.Helper()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// Run starts a program inside ns, as one line of words separated by spaces, and returns what it printed.
// A program that fails fails the test.
func Run(t testing.TB, ns *netns.NS, line string) string {
	t.Helper()
	out, err := Try(ns, line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// Try is Run for programs that may fail.
func Try(ns *netns.NS, line string) (string, error) {
	words := strings.Fields(line)
	var out []byte
	err := ns.Do(func() error {
		var err error
		out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
		return err
	})
	return string(out), err
}
