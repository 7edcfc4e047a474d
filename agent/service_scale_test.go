package agent_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/service"
	"hexapod.dev/model/transport"
)

// tellingCluster is a cluster of one host that tells of services when the test wants it to.
type tellingCluster struct {
	agent.Folder
	services chan kube.ServiceSink
}

func (tellingCluster) Run(ctx context.Context, _ func() v1alpha1.HostReport, _ func()) error {
	<-ctx.Done()
	return nil
}

func (tellingCluster) Pod(context.Context, string, string, string) (p kube.Pod, ok bool) {
	return p, false
}

func (c tellingCluster) FollowServices(ctx context.Context, sink kube.ServiceSink) error {
	c.services <- sink
	<-ctx.Done()
	return nil
}

func (tellingCluster) Heard() map[string]uint64 { return nil }

func (tellingCluster) FollowPolicies(ctx context.Context, tell func(*objects.ClusterPolicies)) error {
	tell(&objects.ClusterPolicies{})
	<-ctx.Done()
	return nil
}

func (tellingCluster) ReportSoon()                            {}
func (tellingCluster) Refused(string, string, string, string) {}
func (tellingCluster) Witness() time.Time                     { return time.Time{} }

// manyServices are n services of a cluster with 10 endpoints each.
func manyServices(n int) []service.Source {
	list := make([]service.Source, n)
	for i := range list {
		a := netip.MustParseAddr("2001:db8:a000:7::").As16()
		binary.BigEndian.PutUint32(a[12:], uint32(i+1))
		name := fmt.Sprintf("s%d", i)
		list[i] = service.Source{
			Service: service.Service{Name: service.Name{Namespace: "shop", Name: name}, VIPs: []netip.Addr{netip.AddrFrom16(a)},
				Ports: []service.Port{{Name: "http", Protocol: transport.TCP, Port: 80}}},
			Slices: []service.Slice{{Name: name + "-1", Ports: []service.SlicePort{{Name: "http", Protocol: transport.TCP, Port: 8080}}}},
		}
		for j := range 10 {
			b := netip.MustParseAddr("2001:db8:a000:c00::").As16()
			binary.BigEndian.PutUint32(b[8:], uint32(i+1))
			b[15] = byte(j)
			list[i].Slices[0].Endpoints = append(list[i].Slices[0].Endpoints, service.Endpoint{Addr: netip.AddrFrom16(b), State: service.Ready | service.Serving, Node: "h1"})
		}
	}
	return list
}

// BenchmarkManyServices tells an agent of 10,000 services with 10 endpoints each, then of changes one by one. Marks: all are led within 3 s
// (cold-s); a change is in the kernel when the agent has taken it, at most 50 ms later (change-ms), and costs 1 ms of CPU (change-cpu-ms);
// the whole process, this benchmark's own lists included, has at most 200 MB (rss-MB).
func BenchmarkManyServices(b *testing.B) {
	const n = 10_000
	all := manyServices(n)
	h := withServices(b)
	c := tellingCluster{agent.Folder(h.conf()), make(chan kube.ServiceSink, 1)}
	h.cluster = c
	h.start()
	sink := <-c.services
	cpu, began := processTime(b), time.Now()
	sink.Whole(b.Context(), all)
	until(b, "all services are led", func() bool {
		return strings.Contains(h.log.String(), "part=services change=add count="+strconv.Itoa(n))
	})
	cold, coldCPU := time.Since(began), processTime(b)-cpu

	one := all[n/2]
	slice := one.Slices[0]
	cpu = processTime(b)
	changes, longest := 0, time.Duration(0)
	for b.Loop() {
		changes++
		next := slice
		next.Endpoints = slice.Endpoints[changes%2 : 9+changes%2]
		one.Slices = []service.Slice{next}
		begun := time.Now()
		sink.Put(b.Context(), one)
		longest = max(longest, time.Since(begun))
	}
	b.ReportMetric(cold.Seconds(), "cold-s")
	b.ReportMetric(coldCPU.Seconds(), "cold-cpu-s")
	b.ReportMetric((processTime(b)-cpu).Seconds()*1000/float64(changes), "change-cpu-ms")
	b.ReportMetric(longest.Seconds()*1000, "change-ms")
	b.ReportMetric(residentMB(b), "rss-MB")
}

func processTime(b *testing.B) time.Duration {
	b.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// residentMB is the memory of this process that is in use, in MB.
func residentMB(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc/self", "statm"))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20)
}
