package docs

import (
	"os"
	"path/filepath"
	"testing"

	"hexapod.dev/api/v1alpha1"
)

// TestExamples reads every folder of examples/ as the agent reads /etc/hexapod. Warnings count: people copy examples.
func TestExamples(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(root, "examples", "*", "plan.yaml"))
	if err != nil || len(folders) < 2 {
		t.Fatalf("examples found: %v, %v", folders, err)
	}
	for _, plan := range folders {
		dir := filepath.Dir(plan)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var all []v1alpha1.Object
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				objects, problems := v1alpha1.Decode(file, data)
				for _, p := range problems {
					t.Errorf("%s", p)
				}
				all = append(all, objects...)
			}
			for _, p := range v1alpha1.Check(all) {
				t.Errorf("%s", p)
			}
		})
	}
}
