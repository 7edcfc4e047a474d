// Package demo shows a lab at work: every pair, an endpoint opened to the outside, a server that has IPv4 alone, an agent killed under a running ping.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
)

// Patience bounds the whole demonstration. It takes some seconds; programs are built before it.
const Patience = 2 * time.Minute

// size is small enough to read every line of the table and has all kinds of path: same host, same rack, other rack, outside.
var size = topology.Size{Racks: 2, Hosts: 2, Endpoints: 3}

// Options say what to show and where.
type Options struct {
	Name   string
	Bin    string            // folder of hexapod and hexapod-cni; empty: that of the running program
	Keep   bool              // leave the lab running
	Break  bool              // pull one cable first: the demonstration must fail
	Router lab.RouterKind    // empty: lab.DemoRouter
	Out    io.Writer         // the report
	Report func(string)      // progress, one line for a step
	Pairs  func(done, n int) // progress of the check
}

// Run shows everything. It fails when anything that it shows did not work, and when something is left afterwards.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, fmt.Errorf("not finished within %v", Patience))
	defer cancel()
	if err := lab.Preflight(); err != nil {
		return err
	}
	// One that was kept, or was interrupted, makes room.
	if err := lab.Down(ctx, o.Name); err != nil {
		return err
	}
	sum, err := show(ctx, o)
	if o.Keep {
		fmt.Fprintf(o.Out, "\nThe lab goes on running: bin/hexapod lab down --name %s removes it.\n", o.Name)
	} else {
		o.Report("taking everything away")
		err = errors.Join(err, away(ctx, o.Name))
	}
	if err == nil && (sum.failed > 0 || sum.lost > 0) {
		err = errors.New("not everything worked; see above")
	}
	fmt.Fprintf(o.Out, "\ndemo: %d pairs, %d failed, %d lost%s\n", sum.pairs, sum.failed, sum.lost, caveat(sum, err))
	return err
}

// caveat keeps the last line from looking like a success when something besides the pairs went wrong.
func caveat(s sums, err error) string {
	if err != nil && s.failed == 0 && s.lost == 0 {
		return "; it did not come to its end"
	}
	return ""
}

// away takes the lab down and wants nothing left of it.
func away(ctx context.Context, name string) error {
	err := lab.Down(context.WithoutCancel(ctx), name)
	left, lerr := lab.Leftovers(name)
	if len(left) > 0 {
		lerr = errors.Join(lerr, fmt.Errorf("left behind:\n%s", strings.Join(left, "\n")))
	}
	return errors.Join(err, lerr)
}

// sums is the last line.
type sums struct{ pairs, failed, lost int }

func show(ctx context.Context, o Options) (sums, error) {
	if o.Router == "" {
		o.Router = lab.DemoRouter()
	}
	version, err := o.Router.Version()
	if err != nil {
		return sums{}, err
	}
	fmt.Fprintf(o.Out, "ToRs, spine and outside run %s (--router %s).\n", version, o.Router)
	l, err := lab.Up(ctx, lab.Options{Name: o.Name, Size: size, Router: o.Router, Bin: o.Bin, Hold: true, Report: o.Report})
	if err != nil {
		return sums{}, err
	}
	defer l.Close()
	if o.Break {
		const machine, victim = "tor2", "r2h1"
		o.Report("breaking it: the cable of " + victim + " is pulled")
		if err := l.SetLink(machine, topology.DownlinkName(victim, 0), false); err != nil {
			return sums{}, err
		}
	}
	o.Report("checking every pair")
	r, err := l.Check(ctx, o.Pairs)
	sum := sums{len(r.Pairs), len(r.Failed()), r.Lost()}
	if err := errors.Join(err, r.Err()); err != nil {
		return sum, err
	}
	if err := table(ctx, o, l, r); err != nil {
		return sum, err
	}
	if err := whereis(o, l); err != nil {
		return sum, err
	}
	if err := outside(ctx, o, l, r); err != nil {
		return sum, err
	}
	if err := internet(ctx, o, l); err != nil {
		return sum, err
	}
	o.Report("killing an agent under a running ping")
	t, err := kill(ctx, l, "r1h1-e1", "r2h2-e1")
	sum.lost += t.Lost
	if err != nil {
		return sum, err
	}
	fmt.Fprintf(o.Out, "\nping r1h1-e1 to r2h2-e1 every %v while the agent of r2h2 was killed with -9 and started again:\n  %v\n", pingInterval, t)
	o.hints()
	return sum, nil
}

// whereis asks the agent that gave an address out.
func whereis(o Options, l *lab.Lab) error {
	const who, host = "r2h2-e1", "r2h2"
	addr := l.Addr(who).String()
	fmt.Fprintf(o.Out, "\n$ hexapod lab exec --name %s %s -- hexapod whereis %s\n", o.Name, host, addr)
	if err := l.Exec(host, []string{"hexapod", "whereis", addr}, lab.Streams{Out: o.Out, Err: o.Out}); err != nil {
		return fmt.Errorf("ask the agent of %s whose address %s is: %w", host, addr, err)
	}
	return nil
}

// hints are calls that work as they stand: on the lab that was kept, or on one that the first of them makes.
func (o Options) hints() {
	up, name := "  bin/hexapod lab up\n", ""
	if o.Keep {
		up, name = "", " --name "+o.Name
	}
	fmt.Fprintf(o.Out, `
What to try next:
%[2]s  bin/hexapod lab exec%[1]s r1h1-e1 -- ip -6 route       what an endpoint sees
  bin/hexapod lab exec%[1]s r1h1 -- hexapod endpoints    what an agent holds
  bin/hexapod lab exec%[1]s r1h1 -- hexapod bgp received
  bin/hexapod lab check%[1]s                             every pair, by ping and by HTTP
  bin/hexapod lab down%[1]s                              leaves nothing
  make demo BREAK=1                                 a pulled cable is found
`, name, up)
}

const (
	pingInterval = 10 * time.Millisecond
	answersEach  = 50 // answers before the kill, while there is no agent, and after the restart
)

// kill ends the agent of the host of to with SIGKILL under a running ping, and starts it again. Every phase lasts a number of
// answers, not a time.
func kill(ctx context.Context, l *lab.Lab, from, to string) (probe.Tally, error) {
	e, err := l.Endpoint(to)
	if err != nil {
		return probe.Tally{}, err
	}
	in, err := l.Inside(from)
	if err != nil {
		return probe.Tally{}, err
	}
	pinger, err := probe.NewPinger(in)
	if err != nil {
		return probe.Tally{}, err
	}
	defer pinger.Close()
	running, stop := context.WithCancel(ctx)
	defer stop()
	answers := make(chan struct{}, 1<<16)
	stream := probe.Stream{Dst: e.Addr, Interval: pingInterval, Patience: 2 * time.Second, Each: func(probe.Reply) { answers <- struct{}{} }}
	var t probe.Tally
	done := make(chan error, 1)
	go func() {
		var err error
		t, err = stream.Run(running, pinger)
		done <- err
	}()
	err = phases(ctx, l, e.Host, answers)
	stop()
	return t, errors.Join(err, <-done)
}

func phases(ctx context.Context, l *lab.Lab, host string, answers <-chan struct{}) error {
	steps := []func() error{
		func() error { return l.KillAgent(host) },
		func() error { return l.StartAgent(ctx, host) },
		func() error { return nil },
	}
	for _, step := range steps {
		for range answersEach {
			select {
			case <-answers:
			case <-ctx.Done():
				return fmt.Errorf("wait for the ping: %w", context.Cause(ctx))
			}
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// from is where the paths of the table begin.
const from = "r1h1-e1"

// table prints one line for everybody: address, what it says, and the way to it.
func table(ctx context.Context, o Options, l *lab.Lab, r lab.Report) error {
	in, err := l.Inside(from)
	if err != nil {
		return err
	}
	pinger, err := probe.NewPinger(in)
	if err != nil {
		return err
	}
	defer pinger.Close()
	rows := [][]string{{"WHO", "ADDRESS", "RACK", "HOST", "IDENTITY", "BORN", "RTT", "FIRST", "PATH FROM " + from}}
	for _, name := range names(l) {
		if ctx.Err() != nil {
			return fmt.Errorf("trace the paths: %w", context.Cause(ctx))
		}
		row := []string{name, l.Addr(name).String(), "-", "-", "-", "-", "-", "-", "itself"}
		if d, err := l.Decode(l.Addr(name)); err == nil {
			row[2], row[3], row[4], row[5] = d.Rack, d.Host, fmt.Sprintf("0x%04x", d.Fields.Identity), d.Fields.Born.String()
		} else if name != topology.Outside {
			return err
		}
		if i := slices.IndexFunc(r.Pairs, func(p lab.Pair) bool { return p.From == from && p.To == name }); i >= 0 {
			row[6], row[7] = micro(r.Pairs[i].RTT), micro(r.Pairs[i].First)
			path, err := pinger.Trace(l.Addr(name), 2*time.Second)
			if err != nil {
				return fmt.Errorf("trace the path from %s to %s: %w", from, name, err)
			}
			row[8] = hops(l, path)
		}
		rows = append(rows, row)
	}
	printRows(o.Out, rows)
	return nil
}

func names(l *lab.Lab) []string {
	var all []string
	for _, e := range l.Endpoints() {
		all = append(all, e.Name)
	}
	return append(all, topology.Outside)
}
