package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/model/desired"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// reportTranslation tells of the translator.
func (a *Agent) reportTranslation(st desired.State) []local.Object {
	t := a.sections.Snapshot().Config.Translation
	if t == nil {
		return nil
	}
	o := stateOf(local.Object{Kind: "nat64", Name: t.Name}, a.runners[partNAT64])
	child := a.nat64.keeper.State()
	switch {
	case o.State == local.Failed:
	case child.Err != nil:
		o.State, o.Why = local.Failed, oneLine(child.Err)
	case child.PID == 0:
		o.State, o.Why = local.Pending, "the translator does not run yet"
	default:
		by := fmt.Sprint(t.Pool)
		if t.OwnAddress() {
			a.nat64.mu.Lock()
			by = a.nat64.own.sharedText(t.Ports)
			a.nat64.mu.Unlock()
		}
		o.Detail = fmt.Sprintf("%v by %s, %s, process %d", t.Prefixes, by, a.fastDetail(), child.PID)
	}
	if err := a.grantsWell(); err != nil && o.State == local.Done {
		o.State, o.Why = local.Failed, oneLine(err)
	}
	for _, u := range st.Undone {
		if u.Kind == "nat64" {
			o.State, o.Why = local.Failed, string(u.Why)
		}
	}
	return []local.Object{o}
}

// NAT64 implements local.Translating.
func (a *Agent) NAT64(ctx context.Context, top int) (s nat64.Status, err error) {
	return s, translatorError(a.nat64.keeper.Call(ctx, nat64.CallStatus, top, &s))
}

// NAT64Bindings implements local.Translating.
func (a *Agent) NAT64Bindings(ctx context.Context, n int) (list []xnat64.Entry, err error) {
	return list, translatorError(a.nat64.keeper.Call(ctx, nat64.CallEntries, n, &list))
}

func translatorError(err error) error {
	if errors.Is(err, child.ErrNone) {
		return errors.New("this host does not translate: no Translation names it, or hexapod status tells why")
	}
	return err
}

// NAT64Who implements local.Translating. It reads the log, so it needs no translator.
func (a *Agent) NAT64Who(_ context.Context, addr netip.AddrPort, at time.Time) (h nat64.Had, found bool, err error) {
	return a.grantsFolder().Who(addr.Addr(), addr.Port(), at)
}

// nat64Collector turns what the translator holds into metrics when somebody asks.
type nat64Collector struct{ a *Agent }

var (
	nat64Up       = prometheus.NewDesc("hexapod_nat64_up", "1 if the translator answers; absent on hosts that do not translate.", nil, nil)
	nat64Bindings = prometheus.NewDesc("hexapod_nat64_bindings", "Bindings of all endpoints.", nil, nil)
	nat64Sessions = prometheus.NewDesc("hexapod_nat64_sessions", "TCP sessions of all bindings.", nil, nil)
	nat64Most     = prometheus.NewDesc("hexapod_nat64_bindings_limit", "Bindings that all endpoints together can have.", nil, nil)
	nat64Free     = prometheus.NewDesc("hexapod_nat64_free_blocks", "Blocks of ports that no endpoint has.", nil, nil)
	nat64Near     = prometheus.NewDesc("hexapod_nat64_endpoints_near_quota", "Endpoints that use 80 percent of their quota of ports or more.", nil, nil)
	nat64Packets  = prometheus.NewDesc("hexapod_nat64_packets_total", "Packets that came to the translator, by direction (4 or 6: the family they went to) and what became of them.", []string{"to", "why"}, nil)
	nat64Answers  = prometheus.NewDesc("hexapod_nat64_answers_total", "ICMP errors that the translator made itself.", nil, nil)
	nat64Refused  = prometheus.NewDesc("hexapod_nat64_refused_total", "Bindings that were not made.", []string{"why"}, nil)
	nat64Lost     = prometheus.NewDesc("hexapod_nat64_fragments_lost_total", "Fragments that waited for the first of their packet in vain.", nil, nil)
	nat64Fast     = prometheus.NewDesc("hexapod_nat64_fast_packets_total", "Packets that were translated in the kernel, by the family they went to (4 or 6).", []string{"to"}, nil)
	nat64Flows    = prometheus.NewDesc("hexapod_nat64_fast_flows", "Flows that are translated in the kernel.", nil, nil)
	nat64Slow     = prometheus.NewDesc("hexapod_nat64_fast_full_total", "Times that a flow found no place in the kernel and stayed with the translator.", nil, nil)
	nat64Living   = prometheus.NewDesc("hexapod_nat64_gateways_living", "Gateways that translate now, as this one sees them; absent where it is alone.", nil, nil)
	nat64Owns     = prometheus.NewDesc("hexapod_nat64_addresses_owned", "Addresses of the pool that belong to this gateway now; absent where it is alone.", nil, nil)
	nat64Kept     = prometheus.NewDesc("hexapod_nat64_kept_bindings", "Bindings of other gateways that this one would go on with; absent where it is alone.", nil, nil)
	nat64Handed   = prometheus.NewDesc("hexapod_nat64_handed_packets_total", "Packets given to the gateway that they belong to.", nil, nil)
	nat64Adopted  = prometheus.NewDesc("hexapod_nat64_adopted_bindings_total", "Bindings that this gateway went on with for another one.", nil, nil)
	nat64Unwrit   = prometheus.NewDesc("hexapod_nat64_grants_unwritten", "Lines of the log of grants that wait for room on the disk.", nil, nil)
	nat64Gone     = prometheus.NewDesc("hexapod_nat64_grants_lost_total", "Lines of the log of grants that were not written: too many waited for room on the disk.", nil, nil)
	nat64Starts   = prometheus.NewDesc("hexapod_nat64_starts_total", "Translators that this agent started.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c nat64Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nat64Up, nat64Bindings, nat64Sessions, nat64Most, nat64Free, nat64Near, nat64Packets, nat64Answers,
		nat64Refused, nat64Lost, nat64Fast, nat64Flows, nat64Slow, nat64Living, nat64Owns, nat64Kept, nat64Handed, nat64Adopted, nat64Unwrit, nat64Gone, nat64Starts} {
		ch <- d
	}
}

// nat64Patience bounds what a scrape waits for the translator.
const nat64Patience = time.Second

// Collect implements prometheus.Collector.
func (c nat64Collector) Collect(ch chan<- prometheus.Metric) {
	if c.a.sections.Snapshot().Config.Translation == nil {
		return
	}
	gauge := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	if n, ok := c.a.fastCounts(); ok {
		counter(nat64Fast, n.To4, "4")
		counter(nat64Fast, n.To6, "6")
	}
	counter(nat64Starts, uint64(c.a.nat64.keeper.State().Starts))
	ctx, cancel := context.WithTimeout(context.Background(), nat64Patience)
	defer cancel()
	s, err := c.a.NAT64(ctx, 0)
	if err != nil {
		gauge(nat64Up, 0)
		return
	}
	gauge(nat64Up, 1)
	gauge(nat64Bindings, s.Bindings)
	gauge(nat64Sessions, s.Sessions)
	gauge(nat64Most, s.Most)
	gauge(nat64Free, s.Free)
	gauge(nat64Near, s.Near)
	gauge(nat64Flows, s.Fast)
	gauge(nat64Unwrit, s.Unwritten)
	counter(nat64Gone, s.LostLines)
	counter(nat64Slow, s.Slow)
	if g := s.Together; g != nil {
		gauge(nat64Living, len(g.Living))
		gauge(nat64Owns, g.Owns)
		gauge(nat64Kept, g.Kept)
		counter(nat64Handed, g.Handed)
		counter(nat64Adopted, g.Adopted)
	}
	counter(nat64Answers, s.Counts.Answers)
	counter(nat64Lost, s.Counts.Lost)
	for to, by := range map[string]map[string]uint64{"4": s.Counts.To4, "6": s.Counts.To6} {
		for why, n := range by {
			counter(nat64Packets, n, to, why)
		}
	}
	for why, n := range s.Counts.Refused {
		counter(nat64Refused, n, why)
	}
}
