package agent

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/agent/local"
)

// docs/agent.md lists every metric with its labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	m := newMetrics("test", func() local.Status { return local.Status{} })
	name := regexp.MustCompile(`fqName: "(hexapod_[a-z_]+)".*constLabels: \{(.*?)\}.*variableLabels: \{(.*?)\}`)
	var have []string
	descs := make(chan *prometheus.Desc)
	go func() { m.registry.Describe(descs); close(descs) }()
	for d := range descs {
		if found := name.FindStringSubmatch(d.String()); found != nil {
			constant, _, _ := strings.Cut(found[2], "=")
			labels := strings.ReplaceAll(strings.Trim(constant+","+found[3], ","), ",", " ")
			have = append(have, strings.TrimSpace(found[1]+" "+labels))
		}
	}
	text, err := os.ReadFile("../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(hexapod_[a-z_]+)` \\| (.*?) ?\\|").FindAllStringSubmatch(string(text), -1) {
		labels := strings.NewReplacer("`", "", ", ", " ").Replace(row[2])
		want = append(want, strings.TrimSpace(row[1]+" "+labels))
	}
	slices.Sort(have)
	slices.Sort(want)
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("metrics (-documented +registered):\n%s", d)
	}
}

// A state that no object is in is 0 and not absent: an alert on failed objects must be able to see them go.
func TestObjectsByState(t *testing.T) {
	m := newMetrics("test", func() local.Status {
		return local.Status{Objects: []local.Object{{Kind: "peer", State: local.Failed}, {Kind: "peer", State: local.Done}, {Kind: "peer", State: local.Done}}}
	})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "hexapod_agent_objects" {
			continue
		}
		for _, v := range f.GetMetric() {
			have[v.GetLabel()[0].GetValue()+" "+v.GetLabel()[1].GetValue()] = v.GetGauge().GetValue()
		}
	}
	want := map[string]float64{"peer done": 2, "peer pending": 0, "peer failed": 1}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("-want +have\n%s", d)
	}
}
