package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/local"
	"hexapod.dev/model/ipam"
)

// What a running agent closed of its journal lies in the sink of the plan, and tells there who had an address, when the host is gone.
func TestJournalSink(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"folder", "command"} {
		t.Run(kind, func(t *testing.T) {
			h := newHost(t)
			mount := t.TempDir()
			sink := fmt.Sprintf("{folder: %q}", mount)
			if kind == "command" {
				script := h.file("ship", "#!/bin/sh\nset -e\nmkdir -p \"$1/$2\"\ncat >\"$1/$2/$3.part\"\nmv \"$1/$2/$3.part\" \"$1/$2/$3\"\n")
				sink = fmt.Sprintf("{command: [%q, %q]}", script, mount)
			}
			h.configure(strings.Replace(plan, "  lab: true\n", "  lab: true\n  journal: {sink: "+sink+"}\n", 1))
			a := h.start()
			r, addr := h.attach(a, "web")
			if err := a.Del(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h.start() // a new segment, so that the one before is closed
			h.logged("segments")
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(h.state()); err != nil {
				t.Fatal(err)
			}
			w, err := allocation.Search(t.Context(), journal.Dir(filepath.Join(mount, "h1")), ipam.Layout{}, addr, ipam.FromUnix(time.Now().Unix()))
			if err != nil || len(w.Life) != 1 || w.Life[0].Owner.Name != "web" || w.Life[0].Host != "h1" || w.Life[0].Retired == 0 {
				t.Errorf("the copies know of %s: %+v, %v; want the one life of web on h1", addr, w.Life, err)
			}
		})
	}
}

// What the plan says of the journal holds for the log of NAT64 grants: closed segments are copied, and go when they are past the retention;
// the last one stays.
func TestGrantsAreCopiedAndRetained(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	mount, folder := t.TempDir(), filepath.Join(h.state(), "nat64")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	names := []string{"grants.log", "grants-0000000001-2020-01-01.log", "grants-0000000003-2020-01-05.log"}
	for i, name := range names {
		text := fmt.Sprintf(`{"observationTimeMilliseconds":"2020-01-01T00:00:00Z","segment":%d}`+"\n", i)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules := fmt.Sprintf("  journal: {retention: 30d, sink: {folder: %q}}\n", mount)
	h.configure(strings.Replace(plan, "  lab: true\n", "  lab: true\n"+rules, 1))
	h.start()
	h.logged("past its retention", "segment="+names[1])
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		_, here := os.Stat(filepath.Join(folder, name))
		_, there := os.Stat(filepath.Join(mount, "h1", name))
		if last := i == 2; (here == nil) != last || (there == nil) == last {
			t.Errorf("%s: here %v, copied %v", name, here, there)
		}
	}
}

// A number that rests is not given to the next host by hand, while an agent runs: the folder is refused and what was goes on. When the
// rest is over, the same folder is taken.
func TestRestingNumberIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	again := func(retired time.Time) string {
		return plan + fmt.Sprintf(`---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: old}
spec: {cluster: c1, rack: r1, number: 5, retired: %q}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: fresh}
spec: {cluster: c1, rack: r1, number: 5, uplinks: [{name: up0, address: "fd7c:a1b2:c3d4::5", segment: s1}]}
`, retired.UTC().Format(time.RFC3339))
	}
	h.configure(again(time.Now().Add(-time.Hour)))
	until(t, "the folder is refused", func() bool { return h.object("config", "").State == local.Failed })
	if o := h.object("config", ""); !strings.Contains(o.Why, "fresh") || !strings.Contains(o.Why, "rest") {
		t.Errorf("config: %+v, want to read which host, and that the number rests", o)
	}
	if s, err := h.client().Status(t.Context()); err != nil || strings.Contains(fmt.Sprint(s.Objects), "fresh ") {
		t.Errorf("the refused host is in the status: %v", err)
	}
	h.configure(again(time.Now().Add(-8 * 24 * time.Hour)))
	until(t, "the folder is taken", func() bool { return h.object("config", "").State == local.Done })
	if o := h.object("peer", "fresh"); o.State != local.Done {
		t.Errorf("the new host: %+v", o)
	}
}
