package v1alpha1

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the checks say into testdata")

// TestMistakes reads testdata/*.txtar, where NAME.yaml is a configuration and NAME.want are the exact lines about it.
// The folders' documents are read by Decode alone (decode*.txtar) or by Decode and Check (check*.txtar).
func TestMistakes(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.HasPrefix(filepath.Base(path), "check")
		var out []txtar.File
		for _, f := range a.Files {
			name, isYAML := strings.CutSuffix(f.Name, ".yaml")
			if !isYAML {
				continue
			}
			objects, problems := Decode(f.Name, f.Data)
			if whole {
				problems = append(problems, Check(objects)...)
			}
			got := problems.Sort().Error()
			if got != "" {
				got += "\n"
			}
			out = append(out, f, txtar.File{Name: name + ".want", Data: []byte(got)})
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar")+"/"+name, func(t *testing.T) {
				if diff := cmp.Diff(member(t, a, name+".want"), got); diff != "" && !*update {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
		if *update {
			a.Files = out
			if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func member(t *testing.T, a *txtar.Archive, name string) string {
	t.Helper()
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	if !*update {
		t.Errorf("%s is missing: run the test with -update and read what it wrote", name)
	}
	return ""
}
