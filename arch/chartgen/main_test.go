package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTemplate(t *testing.T) {
	const manifest = `spec:
  replicas: 2 # helm: {{ .Values.controller.replicas }}
  - image: localhost/hexapod:dev # helm: {{ .Values.image }}
  args:
    # helm+ {{- range .Values.args }}
    # helm+ - {{ . }}
    # helm+ {{- end }}
  # an ordinary remark
  name: hexapod # of all
`
	const want = "# Written by `make generate` from what `kubectl apply -k` takes; do not edit.\n" + `spec:
  replicas: {{ .Values.controller.replicas }}
  - image: {{ .Values.image }}
  args:
    {{- range .Values.args }}
    - {{ . }}
    {{- end }}
  # an ordinary remark
  name: hexapod # of all
`
	if d := cmp.Diff(want, template(manifest)); d != "" {
		t.Errorf("-want +have\n%s", d)
	}
}

// The chart in the tree is the one that the manifests make.
func TestChartIsGenerated(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"templates", "crds", "alerts"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := generate("../"+manifests, "../"+policies, "../"+definitions, "../"+alerts, dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(filepath.Join("../", chart, rel))
		if err != nil || string(have) != string(want) {
			t.Errorf("%s is not what the manifests make: run make generate (%v)", rel, err)
		}
	}
}
