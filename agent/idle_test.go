package agent_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
)

// Marks of an agent with 200 endpoints and nothing to do.
const (
	idleEndpoints = 200
	idleMemory    = 40 << 20 // bytes resident
	idleShare     = 0.005    // of one core
)

func TestIdleCost(t *testing.T) {
	h := newHost(t)
	p := h.spawn()
	atOnce(8, func(worker int) {
		for i := worker; i < idleEndpoints; i += 8 {
			if _, err := h.plugin("ADD", h.endpoint(fmt.Sprintf("e%d", i))); err != nil {
				t.Error(err)
			}
		}
	})
	if n := strings.Count(netnstest.Run(t, h.ns, "ip -6 route show proto 206"), "/"); n == 0 {
		t.Fatal("no routes")
	}
	if _, err := h.client().Metrics(t.Context()); err != nil {
		t.Fatal(err)
	}
	const watched = 11 * time.Second // one sign of life for the plugin lies in it
	before := p.cpu()
	time.Sleep(watched) // idleness itself is what is looked at
	share := float64(p.cpu()-before) / float64(watched)
	memory := p.resident()
	t.Logf("%d endpoints idle: %.1f MB resident, %.3f %% of a core", idleEndpoints, float64(memory)/(1<<20), 100*share)
	if memory > idleMemory {
		t.Errorf("%d bytes resident, want at most %d", memory, idleMemory)
	}
	if share > idleShare {
		t.Errorf("%.3f %% of a core, want at most %.3f %%", 100*share, 100*idleShare)
	}
}

// cpu returns the processor time of the process (proc(5), schedstat of all its threads).
func (p *process) cpu() (sum time.Duration) {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(dir + "/" + task.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			p.t.Fatalf("schedstat %q: %v", text, err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// resident returns the memory of the process that is in RAM, in bytes.
func (p *process) resident() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				p.t.Fatal(err)
			}
			return kib << 10
		}
	}
	p.t.Fatal("no VmRSS")
	return 0
}
