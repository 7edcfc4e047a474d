package seeing

import "github.com/prometheus/client_golang/prometheus"

var (
	descPackets = prometheus.NewDesc("hexapod_datapath_packets_total", "Packets by the place where a program met them and what became of them.", []string{"place", "why"}, nil)
	descBytes   = prometheus.NewDesc("hexapod_datapath_bytes_total", "Bytes of those packets, Ethernet headers included.", []string{"place", "why"}, nil)
)

// Collector reads the programs' counters when somebody asks.
type Collector struct{ *Observer }

// Describe implements prometheus.Collector.
func (Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descPackets
	ch <- descBytes
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	table := c.options.Programs()
	if table == nil {
		return
	}
	counts, err := table.Maps().Counts()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descPackets, err)
		return
	}
	for at, n := range counts {
		place, why := at.Place.String(), at.Why.String()
		ch <- prometheus.MustNewConstMetric(descPackets, prometheus.CounterValue, float64(n.Packets), place, why)
		ch <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(n.Bytes), place, why)
	}
}
