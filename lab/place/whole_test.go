package place

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHierarchies(t *testing.T) {
	const table = `tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0
cgroup /mnt/again cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,release_agent=/bin/x,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`
	want := []hierarchy{
		{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"},
		{"/sys/fs/cgroup/systemd", "none,name=systemd"},
		{"/sys/fs/cgroup/pids", "pids"},
	}
	if diff := cmp.Diff(want, hierarchies(table), cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Error(diff)
	}
	if got := hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"); got != nil {
		t.Errorf("a machine of cgroup2 alone has %v", got)
	}
}

// whole is a place that programs take for a real machine.
func whole(t *testing.T, binds ...Bind) Place {
	t.Helper()
	p := Place{Name: "oak", Group: group(t), Whole: true}
	tree, err := OpenTree()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if p.Legacy, err = tree.Legacy(fmt.Sprintf("hexapod-place-test-%d", os.Getpid())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Group.Remove(), p.Legacy.Remove()); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Make(t.Context(), self, []string{"hold"}, Spec{Run: t.TempDir(), Binds: binds}); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWholeMachineHasItsOwnProcessesAndCgroups(t *testing.T) {
	before := mounts(t)
	p := whole(t)
	if got := output(t, p, "", "sh", "-c", "echo $PPID; cat /proc/1/comm"); !strings.HasPrefix(got, "0\n") {
		t.Errorf("parent and first process %q, want a parent from outside", got)
	}
	for line := range strings.Lines(output(t, p, "", "cat", "/proc/self/cgroup")) {
		if group := line[strings.LastIndex(line, ":")+1:]; group != "/\n" && group != "/" && group != "/"+groupRun && group != "/"+groupRun+"\n" {
			t.Errorf("cgroup %q is seen from inside, want the root or %s", line, groupRun)
		}
	}
	for _, dir := range p.Legacy {
		// Born in the groups, and seen there from both sides.
		inside := "/sys/fs/cgroup/" + filepath.Base(filepath.Dir(dir)) + "/cgroup.procs"
		if got := strings.Fields(output(t, p, "", "cat", inside)); !slices.Contains(got, "1") {
			t.Errorf("%s has %v, want the first process", inside, got)
		}
	}
	if got := output(t, p, "", "awk", `$4 ~ /^\/\.\./`, "/proc/self/mountinfo"); got != "" {
		t.Errorf("mounts with a root outside of the cgroup namespace:\n%s", got)
	}
	if after := mounts(t); !slices.Equal(before, after) {
		t.Errorf("mounts of the machine changed:\n%s\n---\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestWholeMachineReapsAndDies(t *testing.T) {
	p := whole(t)
	// An orphan that ends becomes the child of the first process, which has to ask for its end.
	output(t, p, "", "sh", "-c", "(sleep 0.01 & ) ; exit 0")
	script := `i=0; while [ $i -lt 500 ]; do grep -qs '^State:.Z' /proc/[0-9]*/status || exit 0; sleep 0.01; i=$((i+1)); done; exit 1`
	output(t, p, "", "sh", "-c", script)

	long := exec.Command("sleep", "1000")
	if err := p.Start(long, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Group.Remove(), p.Legacy.Remove()); err != nil {
		t.Fatal(err)
	}
	if err := long.Wait(); err == nil {
		t.Error("a process outlived its machine")
	}
	for _, dir := range p.Legacy {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("cgroup %s is left", dir)
		}
	}
}

func TestWholeMachineShowsFilesOfItsOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "overcommit")
	if err := os.WriteFile(file, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := whole(t, Bind{file, "/proc/sys/vm/overcommit_memory"}, Bind{t.TempDir(), "/etc/hexapod-place-test-a"}, Bind{t.TempDir(), "/etc/hexapod-place-test-b"})
	if got := output(t, p, "", "cat", "/proc/sys/vm/overcommit_memory"); got != "1" {
		t.Errorf("the sysctl says %q", got)
	}
	output(t, p, "", "touch", "/etc/hexapod-place-test-a/x", "/etc/hexapod-place-test-b/x")
	if got := output(t, p, "", "sh", "-c", "mount -t tmpfs tmpfs /mnt && grep ' /mnt ' /proc/self/mountinfo"); !strings.Contains(got, "shared:") {
		t.Errorf("a mount inside is not shared: %q", got)
	}
}
