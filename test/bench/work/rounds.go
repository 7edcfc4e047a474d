// Package work lets several systems do the same work in turn, in slices of a fixed CPU time, and counts work per second of CPU time.
package work

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/test/paired"
)

// pair is a client and a server of one system that wait for their turn.
type pair struct {
	system string
	page   *page
	file   *os.File
	procs  []*exec.Cmd
	others []int // processes of the system whose CPU time counts, too

	ksoftirqd string // file with its CPU time, or none
}

// Pairs is how many rounds a run has if nobody says otherwise: more than a figure needs, because the lower bound of few ratios lies low
// when other programs of the machine disturb one round in ten.
const Pairs = 3 * paired.FewestPairs

// Options is the size of a run.
type Options struct {
	Pairs int
	Kinds *regexp.Regexp // of work; the others are left out
	Slice time.Duration  // of CPU time
	CPU   int            // that client and server share

	Version string // of what is measured
}

// System is one way between a client and a server.
type System struct {
	Name           string
	Client, Server *netns.NS
	To             netip.Addr // of the server, as the client knows it
	At             netip.Addr // the server's own
	Others         []int      // processes beside client and server whose CPU time counts
	Cgroup         *os.File   // of the client; nil: that of this process
}

// Measure does what marks ask for: each kind of work on each way once, by the systems that are compared there, which take turns. find
// returns a system by its name and the way.
func Measure(ctx context.Context, o Options, marks []Mark, find func(name, way string) System) (*Report, error) {
	r := &Report{Machine: paired.This(o.Version), Load: paired.Load(), Slice: o.Slice.String()}
	for i, m := range marks {
		same := func(other Mark) bool { return other.Kind == m.Kind && other.Way == m.Way }
		if slices.ContainsFunc(marks[:i], same) || !o.Kinds.MatchString(m.Kind+", "+m.Way) {
			continue
		}
		var systems []System
		for _, m := range marks[i:] {
			for _, name := range []string{m.Over, m.Of} {
				if same(m) && !slices.ContainsFunc(systems, func(s System) bool { return s.Name == name }) {
					systems = append(systems, find(name, m.Way))
				}
			}
		}
		k, err := kindOf(m.Kind)
		if err != nil {
			return nil, err
		}
		if err := measure(ctx, o, k, m.Way, systems, r); err != nil {
			return nil, err
		}
	}
	r.Ended = paired.Load()
	r.compute(marks)
	return r, nil
}

// measure lets systems do one kind of work in turn, and adds the rounds to r.
func measure(ctx context.Context, o Options, k kind, way string, systems []System, r *Report) (err error) {
	var pairs []*pair
	defer func() {
		for _, p := range pairs {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, s := range systems {
		p, err := start(ctx, o, k, s)
		if p != nil {
			pairs = append(pairs, p)
		}
		if err != nil {
			return fmt.Errorf("%s, %s, %s: %w", k.name, way, s.Name, err)
		}
	}
	for _, p := range pairs { // once for nothing: windows open, caches fill
		if _, err := p.slice(ctx, o); err != nil {
			return fmt.Errorf("%s, %s, %s: %w", k.name, way, p.system, err)
		}
	}
	for i := range o.Pairs {
		for _, at := range paired.Turns(len(pairs), i) {
			one, err := pairs[at].slice(ctx, o)
			if err != nil {
				return fmt.Errorf("%s, %s, %s: %w", k.name, way, pairs[at].system, err)
			}
			one.Kind, one.Way, one.System, one.Pair = k.name, way, pairs[at].system, i
			r.Rounds = append(r.Rounds, one)
		}
	}
	return nil
}

func start(ctx context.Context, o Options, k kind, s System) (*pair, error) {
	file, err := os.CreateTemp("", "hxbenchpage")
	if err != nil {
		return nil, err
	}
	p := &pair{system: s.Name, file: file, others: s.Others}
	if err := errors.Join(os.Remove(file.Name()), file.Truncate(int64(os.Getpagesize()))); err != nil {
		return p, err
	}
	if p.page, err = mapPage(file); err != nil {
		return p, err
	}
	if err := p.worker(ctx, o, k, s.Server, "server", s.At, nil); err != nil {
		return p, err
	}
	return p, p.worker(ctx, o, k, s.Client, "client", s.To, s.Cgroup)
}

// worker starts one end, in a cgroup of its own if one is given. A server is awaited.
func (p *pair) worker(ctx context.Context, o Options, k kind, ns *netns.NS, role string, to netip.Addr, cgroup *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, Verb, k.name, role, to.String(), strconv.Itoa(o.CPU))
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{p.file}
	if cgroup != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := ns.Do(cmd.Start); err != nil {
		return err
	}
	p.procs = append(p.procs, cmd)
	if role == "server" {
		if _, err := out.Read(make([]byte, 8)); err != nil {
			return fmt.Errorf("the server did not start: %w", err)
		}
	}
	return nil
}

func (p *pair) stop() error {
	for _, cmd := range p.procs {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	return p.file.Close()
}

// patience is how long a slice may take by the clock, on a machine that has others to serve.
const patience = time.Minute

// slice lets the pair work until it has used as much CPU time as a slice has.
func (p *pair) slice(ctx context.Context, o Options) (Round, error) {
	before, err := p.cpuTime(o.CPU)
	if err != nil {
		return Round{}, err
	}
	done, after := p.page.done.Load(), before
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	p.page.run.Store(1)
	for end := time.Now().Add(patience); after-before < o.Slice; {
		select {
		case now := <-look.C:
			if now.After(end) {
				return Round{}, fmt.Errorf("%v of CPU time were not to be had in %v", o.Slice, patience)
			}
		case <-ctx.Done():
			return Round{}, ctx.Err()
		}
		if after, err = p.cpuTime(o.CPU); err != nil {
			return Round{}, err
		}
	}
	p.page.run.Store(0)
	one := Round{Work: p.page.done.Load() - done, CPU: (after - before).Seconds()}
	if one.Work == 0 || one.CPU <= 0 {
		return one, errors.New("nothing was done: does the way work?")
	}
	return one, nil
}

// cpuTime is what the pair and the kernel's thread for packets of its CPU have used. Softirqs that run in a process count as its own.
func (p *pair) cpuTime(cpu int) (time.Duration, error) {
	sum, err := p.softirqTime(cpu)
	if err != nil {
		return 0, err
	}
	pids := p.others
	for _, cmd := range p.procs {
		pids = append(pids[:len(pids):len(pids)], cmd.Process.Pid)
	}
	for _, pid := range pids {
		var ts unix.Timespec
		// The clock of a process (clock_getcpuclockid(3)).
		if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
			return 0, fmt.Errorf("CPU time of a worker: %w", err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// softirqTime is the CPU time of ksoftirqd of one CPU, as far as this program may see it.
func (p *pair) softirqTime(cpu int) (time.Duration, error) {
	if p.ksoftirqd == "" {
		names, err := filepath.Glob("/proc/[0-9]*/comm")
		if err != nil {
			return 0, err
		}
		p.ksoftirqd = "none"
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(text)) == fmt.Sprintf("ksoftirqd/%d", cpu) {
				p.ksoftirqd = filepath.Join(filepath.Dir(name), "schedstat")
			}
		}
	}
	if p.ksoftirqd == "none" {
		return 0, nil
	}
	text, err := os.ReadFile(p.ksoftirqd)
	if err != nil {
		return 0, err
	}
	ran, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(ran, 10, 64)
	return time.Duration(ns), err
}
