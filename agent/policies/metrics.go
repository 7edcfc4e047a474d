package policies

import (
	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/model/policy"
)

// newTimes counts passes by their duration in seconds, from 1 ms to 8 s.
func newTimes() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hexapod", Subsystem: "policy", Name: "update_seconds",
		Help: "Duration of compiling policies and bringing them into the kernel.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
}

// Collector counts policies, tables and denials when somebody asks.
type Collector struct{ *Enforcer }

var (
	descPolicies = prometheus.NewDesc("hexapod_policy_policies", "Policies that are known, by tier.", []string{"tier"}, nil)
	descTables   = prometheus.NewDesc("hexapod_policy_tables", "Different tables of the endpoints of this host.", nil, nil)
	descSubjects = prometheus.NewDesc("hexapod_policy_subjects", "Addresses of this host that have tables.", nil, nil)
	descExact    = prometheus.NewDesc("hexapod_policy_exact_entries", "Addresses that are known one by one, because they do not say who has them.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPolicies, descTables, descSubjects, descExact} {
		ch <- d
	}
	c.took.Describe(ch)
	c.denials.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	p := c.Enforcer
	p.took.Collect(ch)
	p.denials.Collect(ch)
	p.mu.Lock()
	defer p.mu.Unlock()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	if p.section.World != nil {
		count := map[policy.Tier]int{policy.Admin: 0, policy.Namespace: 0, policy.Baseline: 0}
		for i := range p.section.World.Policies {
			count[p.section.World.Policies[i].Tier]++
		}
		for t, n := range count {
			gauge(descPolicies, n, t.String())
		}
	}
	gauge(descTables, p.tables())
	gauge(descSubjects, len(p.compiled.Subjects))
	gauge(descExact, len(p.compiled.Believed.Exact))
}
