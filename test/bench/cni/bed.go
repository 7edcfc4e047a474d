package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/test/bench/leftover"
	"hexapod.dev/test/paired"
)

// plan is a fabric with one host. Its clock is trusted: a benchmark waits for no time server.
const plan = `apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: bench}
spec:
  prefix: 2001:db8:a000::/37
  lab: true
  clusters:
    - {name: one, number: 1, racks: [{name: r1, number: 1}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {cluster: one, rack: r1, number: 1, clock: trusted}
`

// bed holds what the systems need: hosts, agents, folders.
type bed struct {
	o       options
	folder  string
	systems []*system // Hexapod on an empty host first
	full    *system   // Hexapod on a host with many endpoints
	plain   *system   // Hexapod on an empty host, without eBPF
	undo    []func() error
}

func newBed(ctx context.Context, o options) (_ *bed, err error) {
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return nil, err
	}
	b := &bed{o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.folder, err = os.MkdirTemp("", "hxbench"); err != nil {
		return nil, err
	}
	b.undo = append(b.undo, func() error { return leftover.Remove(b.folder) })
	data := filepath.Join(b.folder, "ipam")
	slow := peer("ptp-ipv6", "ptp", "2001:db8:b::/64", o, data) // waits for duplicate address detection: seconds
	slow.each, slow.burst = 1, false
	b.systems = []*system{
		nil, // Hexapod, below
		peer("ptp-ipv4", "ptp", "198.18.0.0/16", o, data),
		peer("bridge-ipv4", "bridge", "198.19.0.0/16", o, data),
		peer("bridge-ipv6", "bridge", "2001:db8:c::/64", o, data),
		slow,
	}
	if b.systems[0], err = b.hexapod(ctx, "hexapod", plan); err != nil {
		return nil, err
	}
	if b.full, err = b.hexapod(ctx, "hexapod-full", plan); err != nil {
		return nil, err
	}
	if b.plain, err = b.hexapod(ctx, "hexapod-plain", strings.Replace(plan, "clock: trusted", "clock: trusted, datapath: off", 1)); err != nil {
		return nil, err
	}
	for _, s := range b.systems[1:] {
		if err = b.host(s); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// host gives a system its namespace, with lo up as on every machine.
func (b *bed) host(s *system) error {
	ns, err := netns.Anonymous()
	if err != nil {
		return err
	}
	s.host = ns
	b.undo = append(b.undo, ns.Close)
	return ns.Do(func() error { return exec.Command("ip", "link", "set", "lo", "up").Run() })
}

// hexapod starts an agent with a configuration on a host of its own and waits until it serves.
func (b *bed) hexapod(ctx context.Context, name, config string) (*system, error) {
	top := filepath.Join(b.folder, name)
	folder, run, state := filepath.Join(top, "config"), filepath.Join(top, "run"), filepath.Join(top, "state")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "plan.yaml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	s := &system{name: name, plugin: "hexapod-cni", each: b.o.each, burst: true, bin: b.o.bin,
		config: fmt.Appendf(nil, `{"cniVersion":"1.0.0","name":"bench","type":"hexapod-cni","runDir":%q,"stateDir":%q}`, run, state)}
	if err := b.host(s); err != nil {
		return nil, err
	}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(top, "notify"), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	var words strings.Builder
	agent := exec.CommandContext(ctx, filepath.Join(b.o.bin, "hexapod"), "agent", "--config", folder, "--host", "h1",
		"--run", run, "--state", state, "--log-level", "warn")
	agent.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(top, "notify"))
	agent.Stderr = &words
	agent.Cancel = func() error { return agent.Process.Signal(syscall.SIGTERM) }
	if err := s.host.Do(agent.Start); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { agent.Wait(); close(ended); ready.Close() }()
	b.undo = append(b.undo, func() error {
		agent.Process.Signal(syscall.SIGTERM)
		<-ended
		return nil
	})
	ready.SetReadDeadline(time.Now().Add(30 * time.Second))
	message := make([]byte, 256)
	for {
		n, err := ready.Read(message)
		if err != nil {
			return nil, fmt.Errorf("%s: the agent did not start: %w: %s", name, err, words.String())
		}
		if strings.Contains(string(message[:n]), "READY=1") {
			return s, nil
		}
	}
}

// fill makes the endpoints of the full host; they stay until the end.
func (b *bed) fill(ctx context.Context) error {
	for range b.o.living {
		e, err := b.full.endpoint(b.folder)
		if err != nil {
			return err
		}
		b.undo = append(b.undo, e.remove)
		if _, err := b.full.run(ctx, "ADD", e); err != nil {
			return err
		}
	}
	return nil
}

// close takes everything down, newest first.
func (b *bed) close() error {
	var failed []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		failed = append(failed, b.undo[i]())
	}
	b.undo = nil
	return errors.Join(failed...)
}

// measure runs all pairs. The full host is filled when those on empty hosts are done: hosts of a bed share one kernel, which keeps some
// things in one list for all of them (every clsact qdisc walks that of flow_indr_dev_setup_offload), and a machine with nothing else on
// it has nothing there.
func (b *bed) measure(ctx context.Context, r *report) error {
	if err := b.pairs(ctx, r, b.single, b.without, b.lone, b.burst); err != nil {
		return err
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	return b.pairs(ctx, r, b.crowded)
}

// pairs runs all pairs of some parts. The first round warms up and is not kept.
func (b *bed) pairs(ctx context.Context, r *report, parts ...func(context.Context, int) ([]*round, error)) error {
	for pair := range b.o.pairs + 1 {
		var rounds []*round
		for _, part := range parts {
			some, err := part(ctx, pair)
			if err != nil {
				return err
			}
			rounds = append(rounds, some...)
		}
		if pair > 0 {
			r.Rounds = append(r.Rounds, rounds...)
		}
		fmt.Fprintf(os.Stderr, "\rbench cni: round %d of %d", pair, b.o.pairs)
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// single serves endpoints one after the other on hosts with nothing else on them.
func (b *bed) single(ctx context.Context, pair int) ([]*round, error) {
	return b.serve(ctx, "single", pair, b.o.each, b.systems)
}

// without is single on a host with eBPF, beside one without.
func (b *bed) without(ctx context.Context, pair int) ([]*round, error) {
	return b.serve(ctx, "without", pair, b.o.each, []*system{b.plain, b.systems[0]})
}

// crowded is single on the full host, beside an empty one.
func (b *bed) crowded(ctx context.Context, pair int) ([]*round, error) {
	return b.serve(ctx, "crowded", pair, b.o.each, []*system{b.systems[0], b.full})
}

// lone serves one endpoint of each system, each after a pause.
func (b *bed) lone(ctx context.Context, pair int) ([]*round, error) {
	var rounds []*round
	for _, k := range paired.Turns(len(b.systems), pair) {
		one, err := b.serve(ctx, "lone", pair, 1, b.systems[k:k+1])
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, one...)
	}
	return rounds, nil
}

// serve adds endpoints of each system in turn, one at a time, then deletes them likewise. Their namespaces are there before and are
// removed after: the kernel takes one down in the background, under the lock that an ADD needs, and whoever came next would pay for it.
func (b *bed) serve(ctx context.Context, kind string, pair, each int, systems []*system) (rounds []*round, err error) {
	endpoints := make([][]endpoint, len(systems))
	defer func() {
		for _, some := range endpoints {
			for _, e := range some {
				err = errors.Join(err, e.remove())
			}
		}
	}()
	for k, s := range systems {
		rounds = append(rounds, newRound(s.name, kind, pair))
		for range min(each, s.each) {
			e, err := s.endpoint(b.folder)
			if err != nil {
				return nil, err
			}
			endpoints[k] = append(endpoints[k], e)
		}
	}
	pause := settle
	if kind == "lone" {
		pause = b.o.pause
	}
	for _, command := range []string{"ADD", "DEL"} {
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
		pause = settle
		for i := range each {
			// Each pass begins with another system, so that none is always served after the same one.
			for _, k := range paired.Turns(len(systems), i+pair) {
				if i >= len(endpoints[k]) {
					continue
				}
				took, err := systems[k].run(ctx, command, endpoints[k][i])
				if err != nil {
					return nil, err
				}
				rounds[k].took(command, took)
			}
		}
	}
	return rounds, nil
}

// settle lets the kernel finish what it does in the background after links and namespaces went.
const settle = 200 * time.Millisecond

func wait(ctx context.Context, pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// burst serves many endpoints at a time.
func (b *bed) burst(ctx context.Context, pair int) ([]*round, error) {
	var rounds []*round
	for _, k := range paired.Turns(len(b.systems), pair) {
		s := b.systems[k]
		if !s.burst {
			continue
		}
		if err := wait(ctx, settle); err != nil {
			return nil, err
		}
		add, del, err := s.together(ctx, b.folder, b.o.burst)
		if err != nil {
			return nil, err
		}
		one := newRound(s.name, "burst", pair)
		one.took("ADD", add)
		one.took("DEL", del)
		rounds = append(rounds, one)
	}
	return rounds, nil
}
