package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/edge/bgp"
)

// bgpCollector tells of peers when somebody asks.
type bgpCollector struct{ a *Agent }

var (
	bgpEstablished = prometheus.NewDesc("hexapod_bgp_established", "1 if the session with the peer stands.", []string{"peer"}, nil)
	bgpPrefixes    = prometheus.NewDesc("hexapod_bgp_prefixes", "Prefixes that the peer offers, by what became of them; kept ones are among those that were accepted.", []string{"peer", "state"}, nil)
	bgpEnds        = prometheus.NewDesc("hexapod_bgp_session_ends_total", "Sessions with the peer that ended, and how.", []string{"peer", "how"}, nil)
)

func (c bgpCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{bgpEstablished, bgpPrefixes, bgpEnds} {
		ch <- d
	}
}

func (c bgpCollector) Collect(ch chan<- prometheus.Metric) {
	if c.a.speaking == nil { // not open yet
		return
	}
	for _, p := range c.a.speaking.speaker.Peers() {
		up := 0.0
		if p.State == bgp.Established {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(bgpEstablished, prometheus.GaugeValue, up, p.Name)
		for state, n := range map[string]int{"accepted": p.Accepted, "rejected": p.Rejected, "kept": p.Kept} {
			ch <- prometheus.MustNewConstMetric(bgpPrefixes, prometheus.GaugeValue, float64(n), p.Name, state)
		}
		for how, n := range p.Ends {
			ch <- prometheus.MustNewConstMetric(bgpEnds, prometheus.CounterValue, float64(n), p.Name, string(how))
		}
	}
}
