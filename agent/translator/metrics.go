package translator

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector turns what the translator holds into metrics when somebody asks.
type Collector struct{ *Translator }

var (
	descUp       = prometheus.NewDesc("hexapod_nat64_up", "1 if the translator answers; absent on hosts that do not translate.", nil, nil)
	descBindings = prometheus.NewDesc("hexapod_nat64_bindings", "Bindings of all endpoints.", nil, nil)
	descSessions = prometheus.NewDesc("hexapod_nat64_sessions", "TCP sessions of all bindings.", nil, nil)
	descMost     = prometheus.NewDesc("hexapod_nat64_bindings_limit", "Bindings that all endpoints together can have.", nil, nil)
	descFree     = prometheus.NewDesc("hexapod_nat64_free_blocks", "Blocks of ports that no endpoint has.", nil, nil)
	descNear     = prometheus.NewDesc("hexapod_nat64_endpoints_near_quota", "Endpoints that use 80 percent of their quota of ports or more.", nil, nil)
	descPackets  = prometheus.NewDesc("hexapod_nat64_packets_total", "Packets that came to the translator, by direction (4 or 6: the family they went to) and what became of them.", []string{"to", "why"}, nil)
	descAnswers  = prometheus.NewDesc("hexapod_nat64_answers_total", "ICMP errors that the translator made itself.", nil, nil)
	descRefused  = prometheus.NewDesc("hexapod_nat64_refused_total", "Bindings that were not made.", []string{"why"}, nil)
	descLost     = prometheus.NewDesc("hexapod_nat64_fragments_lost_total", "Fragments that waited for the first of their packet in vain.", nil, nil)
	descFast     = prometheus.NewDesc("hexapod_nat64_fast_packets_total", "Packets that were translated in the kernel, by the family they went to (4 or 6).", []string{"to"}, nil)
	descFlows    = prometheus.NewDesc("hexapod_nat64_fast_flows", "Flows that are translated in the kernel.", nil, nil)
	descSlow     = prometheus.NewDesc("hexapod_nat64_fast_full_total", "Times that a flow found no place in the kernel and stayed with the translator.", nil, nil)
	descLiving   = prometheus.NewDesc("hexapod_nat64_gateways_living", "Gateways that translate now, as this one sees them; absent where it is alone.", nil, nil)
	descOwns     = prometheus.NewDesc("hexapod_nat64_addresses_owned", "Addresses of the pool that belong to this gateway now; absent where it is alone.", nil, nil)
	descKept     = prometheus.NewDesc("hexapod_nat64_kept_bindings", "Bindings of other gateways that this one would go on with; absent where it is alone.", nil, nil)
	descHanded   = prometheus.NewDesc("hexapod_nat64_handed_packets_total", "Packets given to the gateway that they belong to.", nil, nil)
	descAdopted  = prometheus.NewDesc("hexapod_nat64_adopted_bindings_total", "Bindings that this gateway went on with for another one.", nil, nil)
	descDoubted  = prometheus.NewDesc("hexapod_nat64_words_refused_total", "Words from gateways that were not believed, by why.", []string{"why"}, nil)
	descUnwrit   = prometheus.NewDesc("hexapod_nat64_grants_unwritten", "Lines of the log of grants that wait for room on the disk.", nil, nil)
	descGone     = prometheus.NewDesc("hexapod_nat64_grants_lost_total", "Lines of the log of grants that were not written: too many waited for room on the disk.", nil, nil)
	descSilent   = prometheus.NewDesc("hexapod_nat64_silent", "1 if the translator gives no sign of life: it hangs, or none runs.", nil, nil)
	descHangs    = prometheus.NewDesc("hexapod_nat64_hangs_total", "Translators that this agent ended because they hung.", nil, nil)
	descStarts   = prometheus.NewDesc("hexapod_nat64_starts_total", "Translators that this agent started.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descBindings, descSessions, descMost, descFree, descNear, descPackets, descAnswers,
		descRefused, descLost, descFast, descFlows, descSlow, descLiving, descOwns, descKept, descHanded, descAdopted, descDoubted, descUnwrit, descGone, descStarts, descSilent, descHangs} {
		ch <- d
	}
}

// patience bounds what a scrape waits for the translator.
const patience = time.Second

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	if c.options.Snapshot().Config.Translation == nil {
		return
	}
	gauge := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	if n, ok := c.fastCounts(); ok {
		counter(descFast, n.To4, "4")
		counter(descFast, n.To6, "6")
	}
	counter(descStarts, uint64(c.keeper.State().Starts))
	life, silent := c.lifeNow(), 0
	if life.silent {
		silent = 1
	}
	gauge(descSilent, silent)
	counter(descHangs, uint64(life.hangs))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := c.Status(ctx, 0)
	if err != nil {
		gauge(descUp, 0)
		return
	}
	gauge(descUp, 1)
	gauge(descBindings, s.Bindings)
	gauge(descSessions, s.Sessions)
	gauge(descMost, s.Most)
	gauge(descFree, s.Free)
	gauge(descNear, s.Near)
	gauge(descFlows, s.Fast)
	gauge(descUnwrit, s.Unwritten)
	counter(descGone, s.LostLines)
	counter(descSlow, s.Slow)
	if g := s.Together; g != nil {
		gauge(descLiving, len(g.Living))
		gauge(descOwns, g.Owns)
		gauge(descKept, g.Kept)
		counter(descHanded, g.Handed)
		counter(descAdopted, g.Adopted)
		for why, n := range g.Doubted {
			counter(descDoubted, n, string(why))
		}
	}
	counter(descAnswers, s.Counts.Answers)
	counter(descLost, s.Counts.Lost)
	for to, by := range map[string]map[string]uint64{"4": s.Counts.To4, "6": s.Counts.To6} {
		for why, n := range by {
			counter(descPackets, n, to, why)
		}
	}
	for why, n := range s.Counts.Refused {
		counter(descRefused, n, why)
	}
}
