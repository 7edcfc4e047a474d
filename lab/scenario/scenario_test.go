package scenario_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hexapod.dev/lab"
	"hexapod.dev/lab/labtest"
	"hexapod.dev/lab/scenario"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	o := scenario.Options{Bin: labtest.Programs(t)}
	testscript.Run(t, scenario.Params(t.Context(), o, files...))
}

// What holds with our own routers holds with those of others.
func TestScenariosOfRouters(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/routers/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	bin := labtest.Programs(t)
	for _, kind := range []lab.RouterKind{lab.HexapodRouter, lab.FRRRouter, lab.BIRDRouter} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			labtest.Router(t, kind)
			testscript.Run(t, scenario.Params(t.Context(), scenario.Options{Bin: bin, Name: string(kind), Router: kind}, files...))
		})
	}
}

func TestRunSaysWhatFailed(t *testing.T) {
	t.Parallel()
	bin := labtest.Programs(t)
	for _, c := range []struct {
		name, script, want string
		ok                 bool
	}{
		{"pass", "lab up --bare --racks 1 --hosts 1\nping tor1 spine\n", "ok   pass", true},
		{"lost", "lab up --bare --racks 1 --hosts 1\nping tor1 outside -c 1\n", "1 of 1 lost", false},
		{"early", "ping tor1 outside\n", "no lab is up", false},
		{"words", "ping tor1\n", "no lab is up", false},
		{"verb", "lab sideways\n", "no such verb", false},
		{"unexpected", "lab up --bare --racks 1 --hosts 1\n! ping tor1 spine\n", "should have failed", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), c.name+".txtar")
			if err := os.WriteFile(file, []byte(c.script), 0o644); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			o := scenario.Options{Bin: bin, Name: c.name}
			err := scenario.Run(t.Context(), o, &log, false, file)
			if (err == nil) != c.ok || !strings.Contains(log.String(), c.want) {
				t.Errorf("run: %v, want ok %v and %q in:\n%s", err, c.ok, c.want, log.String())
			}
		})
	}
}
