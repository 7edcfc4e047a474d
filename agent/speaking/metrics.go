package speaking

import (
	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/edge/bgp"
)

// Collector tells of peers when somebody asks.
type Collector struct{ *Mouth }

var (
	descEstablished = prometheus.NewDesc("hexapod_bgp_established", "1 if the session with the peer stands.", []string{"peer"}, nil)
	descPrefixes    = prometheus.NewDesc("hexapod_bgp_prefixes", "Prefixes that the peer offers, by what became of them; kept ones are among those that were accepted.", []string{"peer", "state"}, nil)
	descEnds        = prometheus.NewDesc("hexapod_bgp_session_ends_total", "Sessions with the peer that ended, and how.", []string{"peer", "how"}, nil)
)

// Describe implements prometheus.Collector.
func (Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descEstablished, descPrefixes, descEnds} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.speaker.Peers() {
		up := 0.0
		if p.State == bgp.Established {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(descEstablished, prometheus.GaugeValue, up, p.Name)
		for state, n := range map[string]int{"accepted": p.Accepted, "rejected": p.Rejected, "kept": p.Kept} {
			ch <- prometheus.MustNewConstMetric(descPrefixes, prometheus.GaugeValue, float64(n), p.Name, state)
		}
		for how, n := range p.Ends {
			ch <- prometheus.MustNewConstMetric(descEnds, prometheus.CounterValue, float64(n), p.Name, string(how))
		}
	}
}
