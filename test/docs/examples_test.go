package docs

import (
	"path/filepath"
	"testing"

	"hexapod.dev/edge/file"
)

// TestExamples reads every folder of examples/ as the agent reads /etc/hexapod, and asks it for the part of every living
// host. Warnings count: people copy examples.
func TestExamples(t *testing.T) {
	plans, err := filepath.Glob(filepath.Join(root, "examples", "*", "plan.yaml"))
	if err != nil || len(plans) < 2 {
		t.Fatalf("examples found: %v, %v", plans, err)
	}
	for _, plan := range plans {
		dir := filepath.Dir(plan)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			set, err := file.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range set.Warnings {
				t.Errorf("%s", p)
			}
			var living int
			for _, h := range set.Objects.Hosts {
				if !h.Living() {
					continue
				}
				living++
				if _, err := set.Config(h.ObjectName()); err != nil {
					t.Errorf("host %s: %v", h.ObjectName(), err)
				}
			}
			if living < 2 {
				t.Errorf("%d living hosts: an example shows at least two", living)
			}
		})
	}
}
