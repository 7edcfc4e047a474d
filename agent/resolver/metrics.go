package resolver

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrape bounds the question to the child when metrics are asked for.
const scrape = time.Second

// Collector asks the DNS server of this host for its counters when somebody asks.
type Collector struct{ *Resolver }

var (
	descQueries  = prometheus.NewDesc("hexapod_dns_queries_total", "Questions of clients, by what became of them.", []string{"result"}, nil)
	descMade     = prometheus.NewDesc("hexapod_dns_answers_made_total", "Answers that were not remembered, by reason.", []string{"why"}, nil)
	descCache    = prometheus.NewDesc("hexapod_dns_cache_bytes", "Memory that remembered answers take.", nil, nil)
	descEntries  = prometheus.NewDesc("hexapod_dns_cache_entries", "Remembered answers.", nil, nil)
	descAsked    = prometheus.NewDesc("hexapod_dns_upstream_questions_total", "Questions put to a server, by result.", []string{"zone", "server", "result"}, nil)
	descUpstream = prometheus.NewDesc("hexapod_dns_upstream_up", "1 if the server answered lately.", []string{"zone", "server"}, nil)
)

// Describe implements prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descQueries, descMade, descCache, descEntries, descAsked, descUpstream} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Without a server there is nothing to tell.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrape)
	defer cancel()
	d, err := c.Status(ctx)
	if err != nil || d.PID == 0 {
		return
	}
	s := d.Server
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	count(descQueries, s.Hits, "remembered")
	count(descQueries, s.Strangers, "stranger")
	count(descQueries, s.Malformed, "malformed")
	count(descQueries, s.Overload, "overload")
	count(descQueries, s.Queries-min(s.Queries, s.Hits+s.Strangers+s.Malformed+s.Overload), "made")
	for why, n := range s.Made {
		count(descMade, n, string(why))
	}
	gauge(descCache, s.CacheBytes)
	gauge(descEntries, s.CacheEntries)
	for _, u := range s.Upstreams {
		count(descAsked, u.Sent-u.Failed, u.Zone, u.Server, "answered")
		count(descAsked, u.Failed, u.Zone, u.Server, "failed")
		up := 1
		if u.Down {
			up = 0
		}
		gauge(descUpstream, up, u.Zone, u.Server)
	}
}
