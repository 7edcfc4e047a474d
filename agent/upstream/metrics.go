package upstream

import "github.com/prometheus/client_golang/prometheus"

// Collector turns what a Finder knows into metrics when somebody asks.
type Collector struct{ *Finder }

var (
	descUsed    = prometheus.NewDesc("hexapod_nat64_upstream_prefixes", "Prefixes of the NAT64 of the network outside that are used; absent on hosts that use none.", nil, nil)
	descLeft    = prometheus.NewDesc("hexapod_nat64_upstream_seconds", "Seconds for which a prefix of the NAT64 of the network outside still counts, unless it is told again.", []string{"prefix", "source"}, nil)
	descRefused = prometheus.NewDesc("hexapod_nat64_upstream_refused", "Prefixes that the network outside tells and that are not used, by reason.", []string{"why"}, nil)
)

// Describe implements prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUsed, descLeft, descRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.State()
	if s.Translation == "" {
		return
	}
	used, refused := 0, map[string]int{}
	for _, p := range s.Prefixes {
		if !p.Used {
			refused[p.Why]++
			continue
		}
		used++
		if p.Source != given {
			ch <- prometheus.MustNewConstMetric(descLeft, prometheus.GaugeValue, float64(p.Left), p.Prefix.String(), p.Source)
		}
	}
	ch <- prometheus.MustNewConstMetric(descUsed, prometheus.GaugeValue, float64(used))
	for why, n := range refused {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.GaugeValue, float64(n), why)
	}
}
