package lab_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/lab"
	"hexapod.dev/lab/labtest"
	"hexapod.dev/lab/topology"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// testName keeps labs of test programs that run at the same time apart.
func testName(what string) string { return fmt.Sprintf("t%d-%s", os.Getpid(), what) }

func up(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	o.Bin = labtest.Programs(t)
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), o.Name); err != nil {
			t.Error(err)
		}
	})
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestUpCheckDownLeavesNothing(t *testing.T) {
	t.Parallel()
	labtest.Programs(t)
	name := testName("all")
	before := machine(t)
	l := up(t, lab.Options{Name: name, Size: topology.Size{Racks: 2, Hosts: 1, Endpoints: 2}})
	r, err := l.Check(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if want := 5 * 4; len(r.Pairs) != want { // four endpoints and the outside
		t.Errorf("checked %d pairs, want %d", len(r.Pairs), want)
	}
	spaces := namespaces(t, l)
	if want := 6 + 4; len(spaces) != want {
		t.Errorf("the lab has %d network namespaces, want one for each of 6 machines and 4 endpoints", len(spaces))
	}
	for range 2 { // twice is the same as once
		if err := lab.Down(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantNothing(t, name)
	if diff := cmp.Diff(before, machine(t)); diff != "" {
		t.Errorf("the machine is not as before (-before +after):\n%s", diff)
	}
	for _, s := range held(t) {
		if slices.Contains(spaces, s) {
			t.Errorf("%s of the lab is still held", s)
		}
	}
}

func wantNothing(t *testing.T, name string) {
	t.Helper()
	left, err := lab.Leftovers(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("lab %s left:\n%s", name, strings.Join(left, "\n"))
	}
}

// machine is what a lab must not touch: links, routes and mounts of the machine itself. Bound namespaces and mounts under
// the temporary folder are left out, as tests beside this one make them; those of the lab are looked for one by one.
func machine(t *testing.T) map[string][]string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{"routes": lines(t, "/proc/net/ipv6_route", 0, 1, 2, 3, 4, 9)}
	for _, l := range links {
		m["links"] = append(m["links"], l.Name)
	}
	for _, line := range lines(t, "/proc/self/mountinfo", 3, 4, 8) {
		if !strings.Contains(line, "nsfs") && !strings.Contains(line, "net:[") && !strings.Contains(line, os.TempDir()) {
			m["mounts"] = append(m["mounts"], line)
		}
	}
	return m
}

// lines returns the chosen columns of every line of a file of the kernel.
func lines(t *testing.T, path string, columns ...int) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		var kept []string
		for _, c := range columns {
			if c < len(fields) {
				kept = append(kept, fields[c])
			}
		}
		out = append(out, strings.Join(kept, " "))
	}
	slices.Sort(out)
	return out
}

// namespaces lists the network namespaces of a lab as the kernel names them. They are kept open until the test ends, so that the kernel gives
// none of these names to a namespace of somebody else meanwhile.
func namespaces(t *testing.T, l *lab.Lab) []string {
	t.Helper()
	names := l.Machines()
	for _, e := range l.Endpoints() {
		names = append(names, e.Name)
	}
	var all []string
	for _, name := range names {
		in, err := l.Inside(name)
		if err != nil {
			t.Fatal(err)
		}
		err = in(func() error {
			ns, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			t.Cleanup(func() { ns.Close() })
			s, err := os.Readlink("/proc/thread-self/ns/net")
			all = append(all, s)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// held lists the network namespaces that a process of this machine is in.
func held(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		if s, err := os.Readlink(f); err == nil { // else the process has ended meanwhile
			all = append(all, s)
		}
	}
	return all
}

// crash starts `lab up` as a process, reads `steps` lines of its progress, and kills it.
func crash(t *testing.T, bin, name string, steps int, after time.Duration) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "hexapod"), "lab", "up", "--racks", "1", "--endpoints", "2", "--name", name, "-v")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; n < steps && lines.Scan(); n++ {
	}
	alarm := time.NewTimer(after)
	defer alarm.Stop()
	<-alarm.C
	_ = cmd.Process.Kill() // one that is done already is killed at the last point there is
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Log(err)
	}
	_ = cmd.Wait()
}

func TestDownAfterCrashAtAnyPoint(t *testing.T) {
	bin := labtest.Programs(t)
	before := machine(t)
	for steps := range 5 {
		for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond} {
			t.Run(fmt.Sprintf("%d steps and %v", steps, after), func(t *testing.T) {
				name := testName("crash")
				crash(t, bin, name, steps, after)
				for range 2 {
					if err := lab.Down(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
				wantNothing(t, name)
			})
		}
	}
	if diff := cmp.Diff(before, machine(t)); diff != "" {
		t.Errorf("the machine is not as before (-before +after):\n%s", diff)
	}
}

func TestPulledCableIsFound(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Options{Name: testName("route"), Size: topology.Size{Racks: 1, Hosts: 2, Endpoints: 1}})
	if err := l.SetLink("tor1", "to-r1h2", false); err != nil {
		t.Fatal(err)
	}
	r, err := l.Check(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, p := range r.Failed() {
		failed = append(failed, p.From+" to "+p.To)
	}
	// Whatever goes to r1h2 is lost, and so is what it asks: the answers do not come back.
	want := []string{"outside to r1h2-e1", "r1h1-e1 to r1h2-e1", "r1h2-e1 to outside", "r1h2-e1 to r1h1-e1"}
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Errorf("pairs that failed (-want +got):\n%s", diff)
	}
	if r.Err() == nil {
		t.Error("a report with failed pairs is no error")
	}
}

func TestIPv4IsFound(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Options{Name: testName("v4"), Size: topology.Size{Racks: 1, Hosts: 1}, Bare: true})
	if err := l.Exec("tor1", []string{"ip", "-4", "addr", "add", "192.0.2.1/24", "dev", "up0"}, lab.Streams{}); err != nil {
		t.Fatal(err)
	}
	r, err := l.Check(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(r.Err())
	for _, want := range []string{"tor1 has IPv4: address 192.0.2.1/24", "tor1 has IPv4: route up0", "agent of r1h1: is not running"} {
		if !strings.Contains(got, want) {
			t.Errorf("check does not say %q:\n%s", want, got)
		}
	}
}

func TestHeldLabIsNotTakenDown(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Options{Name: testName("held"), Size: topology.Size{Racks: 1, Hosts: 1}, Bare: true, Hold: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // it would wait for longer
	defer cancel()
	if err := lab.Down(ctx, l.Name()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("down of a held lab: %v, want an error that names the process", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lab.Down(t.Context(), l.Name()); err != nil {
		t.Errorf("down of a lab that was let go: %v", err)
	}
}

func TestUpRefuses(t *testing.T) {
	t.Parallel()
	bin := labtest.Programs(t)
	l := up(t, lab.Options{Name: testName("twice"), Size: topology.Size{Racks: 1, Hosts: 1}, Bare: true})
	for _, c := range []struct {
		name string
		o    lab.Options
		want string
	}{
		{"a second time", lab.Options{Name: l.Name(), Size: topology.Size{Racks: 1, Hosts: 1}}, "is there already"},
		{"a name that is a path", lab.Options{Name: "../x", Size: topology.Size{Racks: 1, Hosts: 1}}, "lab name"},
		{"no racks", lab.Options{Name: "x", Size: topology.Size{Hosts: 1}}, "racks 0"},
		{"programs that are not there", lab.Options{Name: "x", Bin: t.TempDir(), Size: topology.Size{Racks: 1, Hosts: 1}}, "is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.o.Bin == "" {
				c.o.Bin = bin
			}
			_, err := lab.Up(t.Context(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("up: %v, want an error with %q", err, c.want)
			}
		})
	}
}
