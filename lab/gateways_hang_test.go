package lab_test

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent/local"
)

// translatorHangs: the translator alone does nothing any more. Its agent notices, and ends it at last.
func (g *gateways) translatorHangs() {
	host, its := g.begin()
	pid := g.translator(host)
	began := time.Now()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		g.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan []attempt, 1)
	go func() { ended <- g.attempts(began, 20*time.Second, stop) }()
	g.eventually("the gateway whose translator hangs is not led to", func() bool { return g.ledTo(host) == 0 })
	withdrawn := time.Since(began)
	own, others := g.alive()
	g.eventually("it has another one", func() bool { next := g.translator(host); return next != 0 && next != pid })
	again := time.Since(began)
	g.allLive()
	close(stop)
	list := <-ended
	from, failed := 0, 0
	var slowest time.Duration
	for _, a := range list {
		if a.begun > withdrawn {
			from++
			slowest = max(slowest, a.took)
			if !a.ok {
				failed++
				g.Logf("a flow begun after %v failed %v later: %v", a.begun.Round(time.Millisecond), a.took.Round(time.Millisecond), a.err)
			}
		}
	}
	g.Logf("the translator of %s hangs with %d of %d flows: not led to after %v, %d flows go on meanwhile, another one after %v; of %d new flows begun since it was not led to %d fail, the slowest in %v",
		host, its, len(g.flows), withdrawn.Round(10*time.Millisecond), own+others, again.Round(10*time.Millisecond), from, failed, slowest.Round(time.Millisecond))
	if failed*100 > from {
		g.Error("new flows fail when nothing leads to the gateway whose translator hangs")
	}
	g.lives(its)
}

// translator is the process of a host's translator; 0: the agent knows none that is well.
func (g *gateways) translator(host string) (pid int) {
	s, err := local.NewClient(g.folder(host, "run/hexapod")).Status(g.Context())
	if err != nil {
		return 0
	}
	for _, o := range s.Objects {
		if _, by, ok := strings.Cut(o.Detail, "process "); ok && o.Kind == "nat64" {
			_, _ = fmt.Sscan(strings.TrimRight(strings.Fields(by)[0], ","), &pid)
		}
	}
	return pid
}
