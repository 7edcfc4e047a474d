package kubetest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on all machines of Linux that have a Go compiler (proc(5)).
const clockTick = time.Second / 100

// CPU is how long the processors have worked for a process, all threads together (proc(5), utime and stime).
func CPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name before may hold anything
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields behind the name", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// Cost is what an API server and its store have done since they were started.
type Cost struct {
	API, Store time.Duration // work of processors
	Writes     int           // requests that make, change or delete objects
}

// Less returns the cost since an earlier one.
func (c Cost) Less(before Cost) Cost {
	return Cost{c.API - before.API, c.Store - before.Store, c.Writes - before.Writes}
}

// Cost reads what the server has done.
func (s *Server) Cost() Cost {
	s.t.Helper()
	var c Cost
	var err error
	for _, of := range []struct {
		p  process
		to *time.Duration
	}{{s.api, &c.API}, {s.etcd, &c.Store}} {
		if *of.to, err = CPU(of.p.cmd.Process.Pid); err != nil {
			s.t.Fatal(err)
		}
	}
	if c.Writes, err = s.writes(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// writes reads the API server's own count.
func (s *Server) writes(ctx context.Context) (n int, err error) {
	h, err := rest.HTTPClientFor(s.Config(AdminToken))
	if err != nil {
		return 0, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Config(AdminToken).Host+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := h.Do(q)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		labels, value, ok := strings.Cut(lines.Text(), "} ")
		if !ok || !strings.HasPrefix(labels, "apiserver_request_total{") || strings.Contains(labels, `resource="leases"`) {
			continue
		}
		for _, verb := range []string{"POST", "PUT", "PATCH", "APPLY", "DELETE"} {
			if strings.Contains(labels, `verb="`+verb+`"`) {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return 0, fmt.Errorf("metrics: %w", err)
				}
				n += int(v)
			}
		}
	}
	return n, lines.Err()
}
