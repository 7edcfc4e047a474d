package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/linux/datapath"
)

var (
	packetsDesc = prometheus.NewDesc("hexapod_datapath_packets_total", "Packets by the place where a program met them and what became of them.", []string{"place", "why"}, nil)
	bytesDesc   = prometheus.NewDesc("hexapod_datapath_bytes_total", "Bytes of those packets, Ethernet headers included.", []string{"place", "why"}, nil)
)

// countsCollector reads the programs' counters when somebody asks.
type countsCollector struct{ maps *datapath.Maps }

func (countsCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- packetsDesc
	ch <- bytesDesc
}

func (c countsCollector) Collect(ch chan<- prometheus.Metric) {
	counts, err := c.maps.Counts()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(packetsDesc, err)
		return
	}
	for at, n := range counts {
		place, why := at.Place.String(), at.Why.String()
		ch <- prometheus.MustNewConstMetric(packetsDesc, prometheus.CounterValue, float64(n.Packets), place, why)
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(n.Bytes), place, why)
	}
}
