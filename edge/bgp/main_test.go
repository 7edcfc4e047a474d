package bgp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hexapod.dev/edge/bgp"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
)

// asSpeaker in the environment makes the test binary a speaker that is told what to do on its standard input: the server
// lives in the namespace of its process, and a speaker that is killed takes its process with it.
const asSpeaker = "HEXAPOD_BGP_TEST_SPEAKER"

func TestMain(m *testing.M) {
	if os.Getenv(asSpeaker) != "" {
		speak()
		return
	}
	netnstest.SideBySide(4)
	os.Exit(m.Run())
}

// order is one line to a speaker. Every order is answered with a report.
type order struct {
	Config *bgp.Config
	Heard  map[string]netip.Addr // peers on links
	All    bool                  // report offers and routes too
}

// report is what a speaker knows.
type report struct {
	Peers     []bgp.PeerStatus
	Offers    []bgp.Offer
	Routes    map[netip.Prefix][]desired.NextHop
	Learned   map[netip.Prefix][]desired.NextHop // as told by Learned
	Announced []announce.Route
	Settled   bool
	RSS       int // kB
	Err       string
}

// heard is a set of peers on links that the test says are there.
type heard struct {
	links   chan map[string]netip.Addr
	changes chan struct{}
}

func (h *heard) PeerOnLink(link string) (netip.Addr, bool) {
	m := <-h.links
	h.links <- m
	a, ok := m[link]
	return a, ok
}

func (h *heard) Changed() <-chan struct{} { return h.changes }

func speak() {
	h := &heard{make(chan map[string]netip.Addr, 1), make(chan struct{}, 1)}
	h.links <- nil
	s := bgp.New(bgp.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Neighbours: h})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	learned := make(chan map[netip.Prefix][]desired.NextHop, 1)
	learned <- map[netip.Prefix][]desired.NextHop{}
	go func() {
		for {
			list, err := s.Learned(ctx)
			if err != nil {
				return
			}
			m := <-learned
			for _, l := range list {
				if len(l.Hops) == 0 {
					delete(m, l.Prefix)
				} else {
					m[l.Prefix] = l.Hops
				}
			}
			learned <- m
		}
	}()
	out := json.NewEncoder(os.Stdout)
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			break // the end of the orders is the order to end
		}
		r := report{}
		if o.Heard != nil {
			<-h.links
			h.links <- o.Heard
			h.changes <- struct{}{}
		}
		if o.Config != nil {
			if _, err := s.Reconcile(ctx, *o.Config); err != nil {
				r.Err = err.Error()
			}
		}
		r.Peers, r.Settled, r.Announced = s.Peers(), s.Settled(), s.Announced()
		if o.All {
			m := <-learned
			r.Offers, r.Routes, r.Learned = s.Received(false), s.Routes(), m
			learned <- m
		}
		r.RSS = rss()
		if err := out.Encode(r); err != nil {
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		slog.Error("speaker", "error", err)
		os.Exit(1)
	}
}

func rss() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n := 0
	for _, c := range strings.TrimSpace(rest) {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// speaker is a speaker in a process of its own.
type speaker struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	gone bool
}

// start starts a speaker inside ns.
func start(t *testing.T, ns place) *speaker {
	t.Helper()
	s := &speaker{t: t, cmd: exec.Command("/proc/self/exe")}
	s.cmd.Env = append(os.Environ(), asSpeaker+"=1")
	s.cmd.Stderr = testWriter{t}
	in, err1 := s.cmd.StdinPipe()
	out, err2 := s.cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	s.in, s.out = in, json.NewDecoder(bufio.NewReader(out))
	if err := ns.do(s.cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.gone {
			s.kill()
		}
	})
	return s
}

func (s *speaker) tell(o order) report {
	s.t.Helper()
	var r report
	if err := json.NewEncoder(s.in).Encode(o); err != nil {
		s.t.Fatal(err)
	}
	if err := s.out.Decode(&r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// end ends the speaker as SIGTERM ends an agent.
func (s *speaker) end() {
	s.t.Helper()
	s.gone = true
	if err := s.in.Close(); err != nil {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("speaker: %v", err)
	}
}

// kill ends it as kill -9 does.
func (s *speaker) kill() {
	s.gone = true
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// testWriter shows what a process says beside the test that started it.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// eventuallyLimit is beyond every timer of a daemon that begins a session anew, on a machine with other work.
const eventuallyLimit = 90 * time.Second

// eventually waits until ok says that it is so. Nothing tells of a change inside other daemons.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(eventuallyLimit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("after %s: not %s", eventuallyLimit, what)
		case <-tick.C:
		}
	}
}

func (s *speaker) peer(name string) bgp.PeerStatus {
	s.t.Helper()
	r := s.tell(order{})
	for _, p := range r.Peers {
		if p.Name == name {
			return p
		}
	}
	s.t.Fatalf("no peer %s: %v", name, r.Peers)
	return bgp.PeerStatus{}
}

func (s *speaker) established(names ...string) {
	s.t.Helper()
	for _, n := range names {
		eventually(s.t, "established with "+n, func() bool { return s.peer(n).State == bgp.Established })
	}
}
