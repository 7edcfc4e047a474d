package docs

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	plainRules    = "deploy/prometheus/nat64.yaml"
	operatorRules = "deploy/kustomize/prometheus/nat64.yaml"
)

// metric is a metric of ours.
var metric = regexp.MustCompile(`\bhexapod_[a-z0-9_]+`)

// An alert on a metric that no program has would never fire.
func TestRulesNameMetricsOfTheProduct(t *testing.T) {
	product := map[string]bool{}
	for _, shelf := range []string{"agent", "edge", "linux", "controller"} {
		err := filepath.WalkDir(filepath.Join(root, shelf), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, name := range metric.FindAllString(string(text), -1) {
				product[name] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page := read(t, "docs/nat64.md")
	named := map[string]bool{}
	for line := range strings.Lines(read(t, plainRules)) {
		if _, expr, ok := strings.Cut(line, "expr: "); ok {
			for _, name := range metric.FindAllString(expr, -1) {
				named[name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !product[name] {
			t.Errorf("%s: no program has the metric %s", plainRules, name)
		}
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/nat64.md does not explain the metric %s", name)
		}
	}
	if !named["hexapod_nat64_endpoints_near_quota"] {
		t.Errorf("%s: nothing alerts on endpoints at 80 %% of their quota", plainRules)
	}
}

// The rules for the Prometheus operator are the plain ones.
func TestRulesForTheOperatorAreTheSame(t *testing.T) {
	var want strings.Builder
	for line := range strings.Lines(read(t, plainRules)) {
		want.WriteString("  " + line)
	}
	if _, got, ok := strings.Cut(read(t, operatorRules), "\nspec:\n"); !ok || got != want.String() {
		t.Errorf("%s: spec is not %s, two spaces further right", operatorRules, plainRules)
	}
}
