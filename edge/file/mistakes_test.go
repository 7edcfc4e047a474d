package file

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the checks say into testdata")

// TestMistakes reads testdata/folder.txtar, where NAME.yaml is a whole folder and NAME.want are the exact lines about it.
func TestMistakes(t *testing.T) {
	const path = "testdata/folder.txtar"
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []txtar.File
	for i, f := range a.Files {
		name, isYAML := strings.CutSuffix(f.Name, ".yaml")
		if !isYAML {
			continue
		}
		s, err := folder{files: []fileText{{f.Name, f.Data}}}.set()
		problems := s.Warnings
		if err != nil && !errors.As(err, &problems) {
			t.Fatal(err)
		}
		got := problems.Error()
		if len(problems) > 0 {
			got += "\n"
		}
		out = append(out, f, txtar.File{Name: name + ".want", Data: []byte(got)})
		if i+1 == len(a.Files) || a.Files[i+1].Name != name+".want" {
			t.Fatalf("%s is not followed by its .want", f.Name)
		}
		if diff := cmp.Diff(string(a.Files[i+1].Data), got); diff != "" && !*update {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	if !*update {
		return
	}
	a.Files = out
	if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}
