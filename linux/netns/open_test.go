package netns_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// A path comes from outside: a pipe without a writer must not hold up who asks for its namespace.
func TestOpenDoesNotWaitForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if ns, err := netns.Open(path); err == nil {
		ns.Close()
		t.Error("a pipe was opened as a network namespace")
	}
}
