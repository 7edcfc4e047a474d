package delegation

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	edge "hexapod.dev/edge/dhcp"
)

var (
	descMessages = prometheus.NewDesc("hexapod_dhcp_messages_total", "DHCPv6 messages of prefix delegation.", []string{"message", "direction"}, nil)
	descValid    = prometheus.NewDesc("hexapod_dhcp_valid_seconds", "How long a delegated prefix is still routed here.", []string{"prefix", "use"}, nil)
)

// Collector counts what prefix delegation did, when somebody asks.
type Collector struct{ *Delegation }

// Describe implements prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descMessages
	ch <- descValid
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	status := c.client.Status()
	for direction, counts := range map[string]map[edge.Kind]int{"sent": status.Sent, "heard": status.Heard} {
		for kind, n := range counts {
			ch <- prometheus.MustNewConstMetric(descMessages, prometheus.CounterValue, float64(n), kind.String(), direction)
		}
	}
	for _, d := range status.Lease.Prefixes {
		use := "draining"
		if d.Prefix == status.Holding.Prefix {
			use = "new"
		}
		if left := time.Until(d.Valid); left > 0 {
			ch <- prometheus.MustNewConstMetric(descValid, prometheus.GaugeValue, left.Seconds(), d.Prefix.String(), use)
		}
	}
}
