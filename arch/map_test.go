package arch

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMapIsCurrent fails when a package came, went or says something else than docs/map.md.
func TestMapIsCurrent(t *testing.T) {
	all, err := Load(t.Context(), "..", "./...")
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../docs/map.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Map(all), string(have)); d != "" {
		t.Errorf("docs/map.md is not current, run make generate (-want +have):\n%s", d)
	}
}

func TestMap(t *testing.T) {
	got := Map([]Package{
		{ImportPath: Module + "/model/prefix", Name: "prefix", Doc: "Package prefix is arithmetic on prefixes.", GoFiles: []string{"a.go"}},
		{ImportPath: Module + "/model/addressplan/render", Name: "render", Doc: "Package render writes plans.", GoFiles: []string{"a.go"}},
		{ImportPath: Module + "/agent", Name: "agent", Doc: "Package agent is the daemon of a host.", GoFiles: []string{"a.go"}},
		{ImportPath: Module + "/linux/brandnew", Name: "brandnew", Doc: "Package brandnew is new.", GoFiles: []string{"a.go"}},
		{ImportPath: Module + "/test/only", Name: "only", TestGoFiles: []string{"a_test.go"}},
	})
	want := `# Map

Written by ` + "`make generate`" + ` from the package comments; do not edit.
How the shelves relate is told in [architecture.md](architecture.md).

## Features by shelf

| feature | agent | linux | model |
|---|---|---|---|
| address plan | | | ` + "`addressplan/render` `prefix`" + ` |
| state | ` + "`agent`" + ` | | |
| brandnew | | ` + "`brandnew`" + ` | |

## agent: the daemon of a host

- [` + "`agent`" + `](../agent) is the daemon of a host.

## linux: every syscall

- [` + "`linux/brandnew`" + `](../linux/brandnew) is new.

## model: pure values: no clock, file or socket

- [` + "`model/addressplan/render`" + `](../model/addressplan/render) writes plans.
- [` + "`model/prefix`" + `](../model/prefix) is arithmetic on prefixes.
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
