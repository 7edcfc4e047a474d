package netns_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

func id(t *testing.T, ns *netns.NS) netns.ID {
	t.Helper()
	id, err := ns.ID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func current(t *testing.T) netns.ID {
	t.Helper()
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	return id(t, ns)
}

func TestDoIsInsideAndComesBack(t *testing.T) {
	ns := netnstest.New(t)
	home := current(t)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			err := ns.Do(func() error {
				if got := current(t); got != id(t, ns) {
					t.Errorf("inside Do: namespace %v, want %v", got, id(t, ns))
				}
				runtime.Gosched()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if got := current(t); got != home {
				t.Errorf("after Do: namespace %v, want %v", got, home)
			}
		})
	}
	wg.Wait()
	if out := netnstest.Run(t, ns, "ip -o link"); strings.Count(out, "\n") != 1 {
		t.Errorf("a program started inside sees more than lo:\n%s", out)
	}
}

func TestDoSurvivesAFunctionThatEndsItsGoroutine(t *testing.T) {
	ns := netnstest.New(t)
	if err := ns.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("Do hides that its function never returned")
	}
}

func TestNewPinsAndDeleteRemoves(t *testing.T) {
	netnstest.Root(t)
	path := filepath.Join(t.TempDir(), "pinned")
	t.Cleanup(func() { netns.Delete(path) })
	ns, err := netns.New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if id(t, ns) == current(t) {
		t.Error("the new namespace is the old one")
	}
	if _, err := netns.New(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("New on an existing path: %v, want fs.ErrExist", err)
	}
	again, err := netns.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if id(t, again) != id(t, ns) {
		t.Error("Path leads elsewhere")
	}
	for range 2 {
		if err := netns.Delete(path); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if _, err := netns.Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open after Delete: %v, want fs.ErrNotExist", err)
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "/proc/self/ns/mnt"} {
		if ns, err := netns.Open(path); err == nil {
			ns.Close()
			t.Errorf("Open(%s) takes it for a network namespace", path)
		}
	}
}
