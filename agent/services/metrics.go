package services

import "github.com/prometheus/client_golang/prometheus"

// newTimes counts changes by their duration in seconds, from 50 us to 0.1 s.
func newTimes() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hexapod", Subsystem: "service", Name: "update_seconds",
		Help: "Duration of bringing one change of a service into the kernel.", Buckets: prometheus.ExponentialBuckets(0.00005, 2, 12)})
}

// Collector turns the hooks' counters into metrics when somebody asks.
type Collector struct{ *Keeper }

var (
	descFrontends = prometheus.NewDesc("hexapod_service_frontends", "Addresses and ports that clients on this host are led from.", nil, nil)
	descBackends  = prometheus.NewDesc("hexapod_service_backends", "Backends of all of them.", nil, nil)
	descEmpty     = prometheus.NewDesc("hexapod_service_empty", "Those of them without a backend: clients are refused.", nil, nil)
	descCalls     = prometheus.NewDesc("hexapod_service_calls_total", "Calls of sockets to an address of a service.", []string{"result"}, nil)
)

// Describe implements prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descFrontends
	ch <- descBackends
	ch <- descEmpty
	ch <- descCalls
	c.took.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took.Collect(ch)
	_, frontends, backends, empty := c.totals()
	gauge := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	gauge(descFrontends, frontends)
	gauge(descBackends, backends)
	gauge(descEmpty, empty)
	if c.hooks == nil {
		return
	}
	tally, err := c.hooks.Tally()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descCalls, err)
		return
	}
	for result, n := range map[string]uint64{"connect": tally.Connected, "send": tally.Sent, "refuse": tally.Refused, "bypass": tally.Bypassed} {
		ch <- prometheus.MustNewConstMetric(descCalls, prometheus.CounterValue, float64(n), result)
	}
}
