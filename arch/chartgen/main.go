// Command chartgen writes the templates of the Helm chart from the Kustomize manifests, so that there is one source of both.
//
// A manifest says beside a line what the chart has in its place: `replicas: 2 # helm: {{ .Values.controller.replicas }}`. A line
// `# helm+ TEXT` stands in the chart alone.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Where things are, seen from the package that calls `go generate`.
const (
	manifests   = "../deploy/kustomize/base"
	policies    = "../deploy/policies"
	definitions = "../deploy/crds"
	alerts      = "../deploy/kustomize/prometheus"
	chart       = "../deploy/helm/hexapod"
)

// notInChart are manifests that Helm does itself.
var notInChart = []string{"kustomization.yaml", "namespace.yaml"}

func main() {
	if err := generate(manifests, policies, definitions, alerts, chart); err != nil {
		fmt.Fprintln(os.Stderr, "chartgen:", err)
		os.Exit(1)
	}
}

// generate writes the templates of a chart and copies the definitions of our kinds and the rules for Prometheus into it.
func generate(manifests, policies, definitions, alerts, chart string) error {
	for _, g := range []struct {
		from, to string
		change   func(string) string
	}{{manifests, "templates", template}, {policies, "templates", template}, {definitions, "crds", same}, {alerts, "alerts", same}} {
		files, err := filepath.Glob(filepath.Join(g.from, "*.yaml"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if slices.Contains(notInChart, filepath.Base(file)) {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			to := filepath.Join(chart, g.to, filepath.Base(file))
			if err := os.WriteFile(to, []byte(g.change(string(text))), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func same(text string) string { return text }

var (
	instead = regexp.MustCompile(`^(\s*(?:- )?[\w.-]+:) .*# helm: (.*)$`)
	only    = regexp.MustCompile(`^(\s*)# helm\+ (.*)$`)
)

// template turns a manifest into a template.
func template(manifest string) string {
	lines := []string{"# Written by `make generate` from what `kubectl apply -k` takes; do not edit."}
	for _, line := range strings.Split(strings.TrimSuffix(manifest, "\n"), "\n") {
		line = instead.ReplaceAllString(line, "$1 $2")
		line = only.ReplaceAllString(line, "$1$2")
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n"
}
