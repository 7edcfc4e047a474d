package agent

import "github.com/prometheus/client_golang/prometheus"

// careCollector counts what host care did, when somebody asks.
type careCollector struct{ a *Agent }

var (
	solicitDesc = prometheus.NewDesc("hexapod_router_solicitations_total", "Router solicitations because a default route was lost.", nil, nil)
	lostDesc    = prometheus.NewDesc("hexapod_router_lost", "1 if the uplink has lost its default route from a router advertisement.", []string{"uplink"}, nil)
)

func (c careCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- solicitDesc
	ch <- lostDesc
}

func (c careCollector) Collect(ch chan<- prometheus.Metric) {
	if c.a.kernel == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(solicitDesc, prometheus.CounterValue, float64(c.a.kernel.routers.Asked()))
	if links, err := c.a.kernel.routers.Links(); err == nil {
		for _, l := range links {
			lost := 0.0
			if l.Lost {
				lost = 1
			}
			ch <- prometheus.MustNewConstMetric(lostDesc, prometheus.GaugeValue, lost, l.Name)
		}
	}
}
