package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics of a controller.
type metrics struct {
	registry *prometheus.Registry
	tasks    *prometheus.CounterVec // task, result
	gauges   *prometheus.GaugeVec   // of
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hexapod_controller_tasks_total",
			Help: "Tasks done, by kind and result: ok, waits, again, error, or the reason why not."}, []string{"task", "result"}),
		gauges: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hexapod_controller_objects",
			Help: "What the controller knows of: hosts, silent, resting, identities, wide (those whose number does not fit into addresses), pods, sets, behind (hosts without the newest slices), waiting (tasks), leading (1 or 0)."}, []string{"of"}),
	}
	m.registry.MustRegister(m.tasks, m.gauges, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) done(kind, result string) { m.tasks.WithLabelValues(kind, result).Inc() }

func (m *metrics) set(of string, n int) { m.gauges.WithLabelValues(of).Set(float64(n)) }

// serve answers Prometheus and the probes of kubelet until ctx ends.
func (c *Controller) serve(ctx context.Context) error {
	m := http.NewServeMux()
	m.Handle("GET /metrics", promhttp.HandlerFor(c.metrics.registry, promhttp.HandlerOpts{}))
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s := &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second}
	l, err := net.Listen("tcp", c.o.Listen)
	if err != nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", c.o.Listen, err)
	}
	return nil
}
