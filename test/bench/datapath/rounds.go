package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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

	ksoftirqd string // file with its CPU time, or none
}

// measure lets all systems do one kind of work in turn, across hosts and, where the kind asks for it, on one host.
func measure(ctx context.Context, o options, k kind, beds []*bed, r *report) error {
	ways := []string{"across"}
	if k.local && o.set == "paths" {
		ways = append(ways, "same host")
	}
	for _, way := range ways {
		if err := measureWay(ctx, o, k, way, beds, r); err != nil {
			return fmt.Errorf("%s, %s: %w", k.name, way, err)
		}
	}
	return nil
}

func measureWay(ctx context.Context, o options, k kind, way string, beds []*bed, r *report) (err error) {
	var pairs []*pair
	defer func() {
		for _, p := range pairs {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, b := range beds {
		if !k.of(b.system) {
			continue
		}
		p, err := start(ctx, o, k, way, b)
		if p != nil {
			pairs = append(pairs, p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.system.name, err)
		}
	}
	for _, p := range pairs { // once for nothing: windows open, caches fill
		if _, err := p.slice(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", p.system, err)
		}
	}
	for i := range o.pairs {
		for _, at := range paired.Turns(len(pairs), i) {
			one, err := pairs[at].slice(ctx, o)
			if err != nil {
				return fmt.Errorf("%s: %w", pairs[at].system, err)
			}
			one.Kind, one.Way, one.System, one.Pair = k.name, way, pairs[at].system, i
			r.Rounds = append(r.Rounds, one)
		}
	}
	return nil
}

func start(ctx context.Context, o options, k kind, way string, b *bed) (*pair, error) {
	file, err := os.CreateTemp(b.folder, "page")
	if err != nil {
		return nil, err
	}
	p := &pair{system: b.system.name, file: file}
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return p, err
	}
	if p.page, err = mapPage(file); err != nil {
		return p, err
	}
	client, server := b.hosts[0].ends[0], b.hosts[1].ends[0]
	if way != "across" {
		server = b.hosts[0].ends[1]
	}
	if err := p.worker(ctx, o, k, server.ns, "server", server.addr, nil); err != nil {
		return p, err
	}
	to := server.addr
	if b.target.IsValid() {
		to = b.target
	}
	return p, p.worker(ctx, o, k, client.ns, "client", to, b.clients)
}

// worker starts one end, in a cgroup of its own if one is given. A server is awaited.
func (p *pair) worker(ctx context.Context, o options, k kind, ns *netns.NS, role string, to netip.Addr, cgroup *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, workerVerb, k.name, role, to.String(), strconv.Itoa(o.cpu))
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
func (p *pair) slice(ctx context.Context, o options) (round, error) {
	before, err := p.cpuTime(o.cpu)
	if err != nil {
		return round{}, err
	}
	done, after := p.page.done.Load(), before
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	p.page.run.Store(1)
	for end := time.Now().Add(patience); after-before < o.slice; {
		select {
		case now := <-look.C:
			if now.After(end) {
				return round{}, fmt.Errorf("%v of CPU time were not to be had in %v", o.slice, patience)
			}
		case <-ctx.Done():
			return round{}, ctx.Err()
		}
		if after, err = p.cpuTime(o.cpu); err != nil {
			return round{}, err
		}
	}
	p.page.run.Store(0)
	one := round{Work: p.page.done.Load() - done, CPU: (after - before).Seconds()}
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
	for _, cmd := range p.procs {
		var ts unix.Timespec
		// The clock of a process (clock_getcpuclockid(3)).
		if err := unix.ClockGettime(int32(^cmd.Process.Pid<<3|2), &ts); err != nil {
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
