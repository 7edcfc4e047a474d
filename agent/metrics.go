package agent

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hexapod.dev/agent/local"
)

// metrics are the agent's numbers, in a registry of their own. docs/agent.md lists them; a test compares.
type metrics struct {
	registry *prometheus.Registry

	passes      *prometheus.CounterVec   // part, result
	passSeconds *prometheus.HistogramVec // part
	changes     *prometheus.CounterVec   // part, change
	requests    *prometheus.CounterVec   // command, result
	reqSeconds  *prometheus.HistogramVec // command
	refusals    *prometheus.CounterVec   // why
	loads       *prometheus.CounterVec   // result
	configGood  prometheus.Gauge
	events      *prometheus.CounterVec // part
}

// seconds fit a CNI request: 0.2 ms to 3 s.
var seconds = prometheus.ExponentialBuckets(0.0002, 2, 15)

// newMetrics makes the registry. status is asked at each scrape.
func newMetrics(version string, status func() local.Status) *metrics {
	counters := func(subsystem, name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hexapod", Subsystem: subsystem, Name: name, Help: help}, labels)
	}
	histograms := func(subsystem, name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "hexapod", Subsystem: subsystem, Name: name, Help: help, Buckets: seconds}, labels)
	}
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		passes:      counters("agent", "passes_total", "Passes that made one part of the kernel hold what is wanted.", "part", "result"),
		passSeconds: histograms("agent", "pass_seconds", "Duration of a pass.", "part"),
		changes:     counters("agent", "changes_total", "Things that passes had to add, change or remove; endpoints of a CNI ADD are not among them.", "part", "change"),
		events:      counters("agent", "events_total", "Changes in the kernel that others made and that asked for a pass.", "part"),
		requests:    counters("cni", "requests_total", "CNI requests.", "command", "result"),
		reqSeconds:  histograms("cni", "request_seconds", "Duration of a CNI request inside the agent.", "command"),
		refusals:    counters("ipam", "refusals_total", "Addresses that were not given out.", "why"),
		loads:       counters("config", "loads_total", "Times the configuration folder was read.", "result"),
		configGood: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "hexapod", Subsystem: "config", Name: "good",
			Help: "1 if the folder holds what is running; 0 if it was refused and an older configuration goes on."}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "hexapod", Subsystem: "agent", Name: "info",
		Help: "Always 1; the label says what runs.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(m.passes, m.passSeconds, m.changes, m.events, m.requests, m.reqSeconds, m.refusals, m.loads, m.configGood, info,
		&statusCollector{status: status},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// passed records one pass of a runner.
func (m *metrics) passed(part string, took time.Duration, err error) {
	m.passes.WithLabelValues(part, result(err)).Inc()
	m.passSeconds.WithLabelValues(part).Observe(took.Seconds())
}

// requested records one CNI request that began at start.
func (m *metrics) requested(command string, start time.Time, err error) {
	m.requests.WithLabelValues(command, result(err)).Inc()
	m.reqSeconds.WithLabelValues(command).Observe(time.Since(start).Seconds())
}

func (m *metrics) loaded(err error) {
	m.loads.WithLabelValues(result(err)).Inc()
	if err == nil {
		m.configGood.Set(1)
	} else {
		m.configGood.Set(0)
	}
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// heardCollector tells what the API server of a cluster had to say, when somebody asks.
type heardCollector struct{ a *Agent }

var heardDesc = prometheus.NewDesc("hexapod_agent_cluster_changes_total", "Changes of objects that the API server told this host of, by resource; whole lists do not count.", []string{"resource"}, nil)

// Describe implements prometheus.Collector.
func (c heardCollector) Describe(ch chan<- *prometheus.Desc) { ch <- heardDesc }

// Collect implements prometheus.Collector.
func (c heardCollector) Collect(ch chan<- prometheus.Metric) {
	if c.a.options.Cluster == nil {
		return
	}
	for resource, n := range c.a.options.Cluster.Heard() {
		ch <- prometheus.MustNewConstMetric(heardDesc, prometheus.CounterValue, float64(n), resource)
	}
}

// statusCollector turns the status into numbers when somebody asks: how many objects of each kind are done, pending, failed.
type statusCollector struct{ status func() local.Status }

var objectsDesc = prometheus.NewDesc("hexapod_agent_objects", "Objects of the status by kind and state.", []string{"kind", "state"}, nil)

func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) { ch <- objectsDesc }

func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	type kindState struct{ kind, state string }
	count := map[kindState]int{}
	for _, o := range c.status().Objects {
		for _, s := range []local.State{local.Done, local.Pending, local.Failed} {
			count[kindState{o.Kind, string(s)}] += 0 // a state nothing is in is 0, not absent
		}
		count[kindState{o.Kind, string(o.State)}]++
	}
	for k, n := range count {
		ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(n), k.kind, k.state)
	}
}
