package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
)

// TestMain lets the test program be its own holder.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "hold" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Hold(ctx, os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The first thread of a process must keep its namespaces: everybody sees them as those of the process.
func TestOnThreadSparesTheFirstThread(t *testing.T) {
	for range 200 {
		var tid int
		if err := onThread(func() error { tid = unix.Gettid(); return nil }); err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			t.Fatal("ran on the first thread")
		}
		runtime.Gosched()
	}
}

// group is a cgroup of the test's own, removed after it.
func group(t *testing.T) Group {
	t.Helper()
	netnstest.Root(t)
	tree, err := OpenTree()
	if err != nil {
		t.Fatal(err)
	}
	g := tree.Group(fmt.Sprintf("hexapod-place-test-%d", os.Getpid()))
	t.Cleanup(func() {
		if err := errors.Join(g.Remove(), tree.Close()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// made is a place that is ready, and the folders it shows as its own.
func made(t *testing.T, binds ...Bind) (p Place, run string) {
	t.Helper()
	p, run = Place{Name: "elm", Group: group(t)}, t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Make(t.Context(), self, []string{"hold"}, Spec{Run: run, Binds: binds}); err != nil {
		t.Fatal(err)
	}
	return p, run
}

// output runs a program in the place and returns what it printed.
func output(t *testing.T, p Place, netns string, words ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, "/"
	if err := p.Run(cmd, "", netns); err != nil {
		t.Fatalf("%q: %v\n%s", words, err, out.String())
	}
	return strings.TrimSpace(out.String())
}

func TestPlaceHasItsOwnFolders(t *testing.T) {
	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "file"), []byte("from the lab"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := mounts(t)
	const missing = "/etc/hexapod-place-test/deep"
	p, run := made(t, Bind{mine, missing})
	if got := output(t, p, "", "cat", missing+"/file"); got != "from the lab" {
		t.Errorf("the bound file says %q", got)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder appeared on the machine: %v", err)
	}
	// What was beside it is still there, as links into the machine's own.
	if got, want := output(t, p, "", "cat", "/etc/passwd"), read(t, "/etc/passwd"); got != want {
		t.Errorf("/etc/passwd has %d bytes in the place, want %d", len(got), len(want))
	}
	output(t, p, "", "touch", "/run/here")
	if _, err := os.Stat(filepath.Join(run, "here")); err != nil {
		t.Errorf("/run of the place: %v", err)
	}
	if got := output(t, p, "", "hostname"); got != "elm" {
		t.Errorf("host name %q", got)
	}
	if got := output(t, p, "", "ls", "/sys/class/net"); got != "lo" {
		t.Errorf("sysfs shows links %q, want lo alone", got)
	}
	if got := output(t, p, "", "ls", "/sys/fs/cgroup/init/cgroup.procs"); got == "" {
		t.Error("/sys/fs/cgroup does not show the place's own cgroup")
	}
	if after := mounts(t); !slices.Equal(before, after) {
		t.Errorf("mounts of the machine changed:\n%s\n---\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// mounts lists what is mounted on this machine, without bound namespaces and what lies in temporary folders: other tests make those
// at the same time, and a place would leave neither.
func mounts(t *testing.T) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
		if !strings.Contains(line, " nsfs ") && !strings.Contains(line, " "+os.TempDir()+"/") {
			list = append(list, line)
		}
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestNetNSComesAndGoes(t *testing.T) {
	p, _ := made(t)
	const path = "/run/netns/blue"
	if err := p.NewNetNS(path); err != nil {
		t.Fatal(err)
	}
	if err := p.NewNetNS(path); err == nil {
		t.Error("a second one of the same name: no error")
	}
	host, inner := output(t, p, "", "readlink", "/proc/self/ns/net"), output(t, p, path, "readlink", "/proc/self/ns/net")
	if host == inner {
		t.Errorf("the namespace is the place's own, %s", host)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the namespace is bound on the machine too")
	}
	for range 2 {
		if err := p.DeleteNetNS(path); err != nil {
			t.Error(err)
		}
	}
	if err := p.DoIn(path, func() error { return nil }); err == nil {
		t.Error("entering a namespace that is gone: no error")
	}
}

func TestProcessesEndWithTheGroup(t *testing.T) {
	p, _ := made(t)
	cmd := exec.Command("sleep", "1000")
	if err := p.Start(cmd, "deep/er", ""); err != nil {
		t.Fatal(err)
	}
	pids, err := p.Group.Sub("deep/er").PIDs()
	if err != nil || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("processes %v, %v; want %d among them", pids, err, cmd.Process.Pid)
	}
	for range 2 { // twice is the same as once
		if err := p.Group.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the process ended with %v", err)
	}
	if p.Group.Exists() {
		t.Error("the cgroup is still there")
	}
	if err := p.Do(func() error { return nil }); !errors.Is(err, ErrGone) {
		t.Errorf("entering a place that is gone: %v, want %v", err, ErrGone)
	}
}

func TestHoldRefusesTheMachineItself(t *testing.T) {
	netnstest.Root(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "hold")
	cmd.Stdin = strings.NewReader(`{"name":"elm"}`)
	out, err := cmd.Output()
	if err == nil || !strings.Contains(string(out), "namespaces of its own") {
		t.Errorf("hold in the namespaces of the machine: %v, %q", err, out)
	}
}

func TestMakeReportsWhatWentWrong(t *testing.T) {
	p := Place{Name: "elm", Group: group(t)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	err = p.Make(t.Context(), self, []string{"hold"}, Spec{Run: filepath.Join(t.TempDir(), "missing")})
	if err == nil || !strings.Contains(err.Error(), "machine elm: show ") {
		t.Errorf("a missing folder: %v", err)
	}
	err = p.Make(t.Context(), "/bin/true", nil, Spec{})
	if err == nil || !strings.Contains(err.Error(), "without a word") {
		t.Errorf("a holder that says nothing: %v", err)
	}
}
