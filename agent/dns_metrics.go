package agent

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// dnsScrape bounds the question to the child when metrics are asked for.
const dnsScrape = time.Second

// dnsCollector asks the DNS server of this host for its counters when somebody asks.
type dnsCollector struct{ a *Agent }

var (
	dnsQueries  = prometheus.NewDesc("hexapod_dns_queries_total", "Questions of clients, by what became of them.", []string{"result"}, nil)
	dnsMade     = prometheus.NewDesc("hexapod_dns_answers_made_total", "Answers that were not remembered, by reason.", []string{"why"}, nil)
	dnsCache    = prometheus.NewDesc("hexapod_dns_cache_bytes", "Memory that remembered answers take.", nil, nil)
	dnsEntries  = prometheus.NewDesc("hexapod_dns_cache_entries", "Remembered answers.", nil, nil)
	dnsAsked    = prometheus.NewDesc("hexapod_dns_upstream_questions_total", "Questions put to a server, by result.", []string{"zone", "server", "result"}, nil)
	dnsUpstream = prometheus.NewDesc("hexapod_dns_upstream_up", "1 if the server answered lately.", []string{"zone", "server"}, nil)
)

// Describe implements prometheus.Collector.
func (c dnsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{dnsQueries, dnsMade, dnsCache, dnsEntries, dnsAsked, dnsUpstream} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Without a server there is nothing to tell.
func (c dnsCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), dnsScrape)
	defer cancel()
	d, err := c.a.DNS(ctx)
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
	count(dnsQueries, s.Hits, "remembered")
	count(dnsQueries, s.Strangers, "stranger")
	count(dnsQueries, s.Malformed, "malformed")
	count(dnsQueries, s.Overload, "overload")
	count(dnsQueries, s.Queries-min(s.Queries, s.Hits+s.Strangers+s.Malformed+s.Overload), "made")
	for why, n := range s.Made {
		count(dnsMade, n, string(why))
	}
	gauge(dnsCache, s.CacheBytes)
	gauge(dnsEntries, s.CacheEntries)
	for _, u := range s.Upstreams {
		count(dnsAsked, u.Sent-u.Failed, u.Zone, u.Server, "answered")
		count(dnsAsked, u.Failed, u.Zone, u.Server, "failed")
		up := 1
		if u.Down {
			up = 0
		}
		gauge(dnsUpstream, up, u.Zone, u.Server)
	}
}
