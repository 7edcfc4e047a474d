package agent

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/agent/local"
	"hexapod.dev/model/service"
)

// Services implements local.Serving: every address and port of every service, and every service that has none, by name.
func (a *Agent) Services() []local.Service {
	s := &a.services
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []local.Service{}
	for _, n := range s.board.Names() {
		line, _ := s.board.Line(n)
		if line.Why != "" {
			list = append(list, local.Service{Name: n.String(), State: local.Done, Why: string(line.Why)})
		}
		for _, f := range line.Frontends {
			o := local.Service{Name: n.String(), Address: f.Key.Addr, Port: f.Key.Port, Protocol: f.Key.Protocol, PortName: f.PortName,
				Backends: f.Backends, Affinity: f.AffinitySeconds, State: local.Done, Why: string(f.Why)}
			if s.off {
				o.Why = string(leftToAnother)
			} else if f.Why == service.Taken {
				o.State = local.Failed
			} else if held, ok := s.held(f.Key); !ok || !slices.Equal(held, f.Backends) {
				o.State, o.Why = local.Failed, "the kernel does not hold it: hexapod status tells why"
			} else {
				o.TableSize = s.hooks.Places(f.Key)
			}
			list = append(list, o)
		}
	}
	return list
}

// held asks what the kernel leads to. The caller holds mu.
func (s *services) held(k service.Key) ([]netip.AddrPort, bool) {
	if s.hooks == nil {
		return nil, false
	}
	return s.hooks.Held(k)
}

// leftToAnother is why nobody is led anywhere.
const leftToAnother service.Why = "the plan leaves services to another proxy"

// totals counts what is served. The caller holds mu.
func (s *services) totals() (services, frontends, backends, empty int) {
	for _, n := range s.board.Names() {
		line, _ := s.board.Line(n)
		services++
		for _, f := range line.Frontends {
			if f.Why == service.Taken {
				continue
			}
			frontends++
			backends += len(f.Backends)
			if len(f.Backends) == 0 {
				empty++
			}
		}
	}
	return services, frontends, backends, empty
}

// reportServices tells of the hooks, and of each service whose address another one has or that has too many backends.
func (a *Agent) reportServices() []local.Object {
	s := &a.services
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, last := a.runners[partServices].State()
	if s.off {
		return []local.Object{stateOf(local.Object{Kind: "services", Name: "connect", Detail: string(leftToAnother)}, a.runners[partServices])}
	}
	if s.hooks == nil && last == nil {
		return nil
	}
	services, frontends, backends, empty := s.totals()
	detail := fmt.Sprintf("%d services, %d addresses and ports, %d backends, %d without any", services, frontends, backends, empty)
	list := []local.Object{stateOf(local.Object{Kind: "services", Name: "connect", Detail: detail}, a.runners[partServices])}
	for _, n := range s.board.Names() {
		line, _ := s.board.Line(n)
		for _, f := range line.Frontends {
			if f.Why == service.Taken || f.Why == service.TooMany {
				list = append(list, local.Object{Kind: "service", Name: n.String() + " " + f.Key.String(), State: local.Failed, Why: string(f.Why)})
			}
		}
	}
	return list
}

// newServiceTimes counts changes by their duration in seconds, from 50 us to 0.1 s.
func newServiceTimes() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hexapod", Subsystem: "service", Name: "update_seconds",
		Help: "Duration of bringing one change of a service into the kernel.", Buckets: prometheus.ExponentialBuckets(0.00005, 2, 12)})
}

// serviceCollector turns the hooks' counters into metrics when somebody asks.
type serviceCollector struct{ a *Agent }

var (
	serviceFrontends = prometheus.NewDesc("hexapod_service_frontends", "Addresses and ports that clients on this host are led from.", nil, nil)
	serviceBackends  = prometheus.NewDesc("hexapod_service_backends", "Backends of all of them.", nil, nil)
	serviceEmpty     = prometheus.NewDesc("hexapod_service_empty", "Those of them without a backend: clients are refused.", nil, nil)
	serviceCalls     = prometheus.NewDesc("hexapod_service_calls_total", "Calls of sockets to an address of a service.", []string{"result"}, nil)
)

// Describe implements prometheus.Collector.
func (c serviceCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- serviceFrontends
	ch <- serviceBackends
	ch <- serviceEmpty
	ch <- serviceCalls
}

// Collect implements prometheus.Collector.
func (c serviceCollector) Collect(ch chan<- prometheus.Metric) {
	s := &c.a.services
	s.mu.Lock()
	defer s.mu.Unlock()
	_, frontends, backends, empty := s.totals()
	gauge := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	gauge(serviceFrontends, frontends)
	gauge(serviceBackends, backends)
	gauge(serviceEmpty, empty)
	if s.hooks == nil {
		return
	}
	tally, err := s.hooks.Tally()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(serviceCalls, err)
		return
	}
	for result, n := range map[string]uint64{"connect": tally.Connected, "send": tally.Sent, "refuse": tally.Refused, "bypass": tally.Bypassed} {
		ch <- prometheus.MustNewConstMetric(serviceCalls, prometheus.CounterValue, float64(n), result)
	}
}
