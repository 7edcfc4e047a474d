package agent

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	edge "hexapod.dev/edge/dhcp"
	"hexapod.dev/model/desired"
)

// reportDelegation tells what is held, until when, and what lives in prefixes that are no longer for new endpoints.
func (a *Agent) reportDelegation(s desired.Snapshot) []local.Object {
	if a.delegation == nil {
		return nil
	}
	status := a.delegation.client.Status()
	o := local.Object{Kind: "delegation", Name: a.delegation.uplink.Name, State: local.Done}
	switch {
	case s.Delegated.Prefix.IsValid():
		o.Detail = describe(status, s.Delegated.Prefix.String())
	case status.Holding.Prefix.IsValid():
		_, why := a.fit(status.Holding.Prefix)
		o.State, o.Why = local.Failed, fmt.Sprintf("%s: %s", status.Holding.Prefix, why)
	case status.State == edge.Idle && a.delegation.uplink.PrefixSource == v1alpha1.PrefixAuto:
		o.State, o.Why = local.Pending, string(notAdvertised)
	case len(status.Holding.Draining) > 0:
		o.State, o.Why = local.Failed, string(prefixDraining)
	case status.Refusal != edge.Success:
		o.State, o.Why = local.Failed, fmt.Sprintf("%s: the server says that it has none (status %d)", notDelegated, status.Refusal)
	case status.Error != nil:
		o.State, o.Why = local.Failed, fmt.Sprintf("%s: %s", notDelegated, oneLine(status.Error))
	default:
		o.State, o.Why = local.Pending, string(notDelegated)
	}
	list := []local.Object{o}
	for _, d := range status.Holding.Draining {
		living := 0
		for _, e := range s.Endpoints.All() {
			for _, addr := range e.Addrs {
				if d.Prefix.Contains(addr) {
					living++
				}
			}
		}
		what := "no new endpoints"
		if d.Withdrawn {
			what = "taken back by the server, no new endpoints"
		}
		list = append(list, local.Object{Kind: "delegation", Name: d.Prefix.String(), State: local.Done,
			Detail: fmt.Sprintf("%s; %d live in it, and it ends at %s", what, living, d.Valid.UTC().Format(time.RFC3339))})
	}
	return list
}

// describe says how a prefix is held.
func describe(s edge.Status, prefix string) string {
	for _, d := range s.Lease.Prefixes {
		if d.Prefix.String() == prefix {
			return fmt.Sprintf("%s %s, to renew at %s, ends at %s", prefix, s.State, s.Lease.T1.UTC().Format(time.RFC3339), d.Valid.UTC().Format(time.RFC3339))
		}
	}
	return prefix
}

// careCollector counts what host care and prefix delegation did, when somebody asks.
type careCollector struct{ a *Agent }

var (
	messagesDesc = prometheus.NewDesc("hexapod_dhcp_messages_total", "DHCPv6 messages of prefix delegation.", []string{"message", "direction"}, nil)
	validDesc    = prometheus.NewDesc("hexapod_dhcp_valid_seconds", "How long a delegated prefix is still routed here.", []string{"prefix", "use"}, nil)
	solicitDesc  = prometheus.NewDesc("hexapod_router_solicitations_total", "Router solicitations because a default route was lost.", nil, nil)
	lostDesc     = prometheus.NewDesc("hexapod_router_lost", "1 if the uplink has lost its default route from a router advertisement.", []string{"uplink"}, nil)
)

func (c careCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{messagesDesc, validDesc, solicitDesc, lostDesc} {
		ch <- d
	}
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
	if c.a.delegation == nil {
		return
	}
	status := c.a.delegation.client.Status()
	for direction, counts := range map[string]map[edge.Kind]int{"sent": status.Sent, "heard": status.Heard} {
		for kind, n := range counts {
			ch <- prometheus.MustNewConstMetric(messagesDesc, prometheus.CounterValue, float64(n), kind.String(), direction)
		}
	}
	for _, d := range status.Lease.Prefixes {
		use := "draining"
		if d.Prefix == status.Holding.Prefix {
			use = "new"
		}
		if left := time.Until(d.Valid); left > 0 {
			ch <- prometheus.MustNewConstMetric(validDesc, prometheus.GaugeValue, left.Seconds(), d.Prefix.String(), use)
		}
	}
}
