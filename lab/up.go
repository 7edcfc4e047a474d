package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/flock"
)

// parallel is how many machines are made at a time.
const parallel = 4

// Options say how a lab is made.
type Options struct {
	Name   string // DefaultName when empty
	Size   topology.Size
	Router RouterKind   // what runs on the routers; HexapodRouter when empty
	Bin    string       // folder of hexapod and hexapod-cni; empty: that of the running program
	Bare   bool         // no agents and no endpoints: the fabric alone
	Open   bool         // the outside reaches every endpoint; else what is published alone
	BFD    bool         // between ToRs and hosts; ToRs of HexapodRouter alone
	Hold   bool         // keep other commands from changing the lab until Close
	Report func(string) // gets a line for every step; may be nil
}

// UnfinishedError tells that Up began and did not end. What there is of the lab stays for a look.
type UnfinishedError struct {
	Name string
	Err  error
}

func (e *UnfinishedError) Error() string { return fmt.Sprintf("lab %s: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Up makes a lab and leaves it running. When it fails on the way, the error is an *UnfinishedError and Down is needed.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	l, err := locate(o.Name)
	if err != nil {
		return nil, err
	}
	l.report = o.Report
	lock, err := l.claim(ctx)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.state = state{Size: o.Size, Router: o.Router, Bin: o.Bin, Open: o.Open, BFD: o.BFD, Hosts: o.Size.AllHosts(), Endpoints: map[string]Endpoint{}}
	err = l.build(ctx, o.Bare)
	if o.Hold && err == nil {
		l.held = lock
		return l, nil
	}
	if err := errors.Join(err, lock.Close()); err != nil {
		return nil, &UnfinishedError{o.Name, errors.Join(err, l.Close())}
	}
	return l, nil
}

func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Report == nil {
		o.Report = func(string) {}
	}
	if err := Preflight(); err != nil {
		return err
	}
	if err := o.Size.Check(); err != nil {
		return err
	}
	if o.Router == "" {
		o.Router = HexapodRouter
	}
	if err := o.Router.Check(); err != nil {
		return err
	}
	if o.BFD && o.Router != HexapodRouter {
		return fmt.Errorf("BFD: the routers of a lab speak it with router %s alone", HexapodRouter)
	}
	if o.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.Bin = filepath.Dir(self)
	}
	return checkPrograms(o.Bin)
}

// claim makes the folder of the lab and holds it against other commands. The folder is the first thing there is of a lab.
func (l *Lab) claim(ctx context.Context) (*flock.Lock, error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of lab %s: %w", l.name, err)
	}
	lock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.stateFile()); err == nil || l.group.Exists() {
		return nil, errors.Join(fmt.Errorf("lab %s is there already; `hexapod lab down --name %s` removes it", l.name, l.name), lock.Close())
	}
	return lock, nil
}

// lockPatience is how long a command waits for another one. A command that was killed may hold the folder a moment longer,
// through a child that was just being born.
const lockPatience = 5 * time.Second

// lock holds the lab's folder.
func (l *Lab) lock(ctx context.Context) (*flock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		lock, err := flock.Take(l.dir, "lock")
		var held *flock.HeldError
		switch {
		case err == nil:
			return lock, nil
		case !errors.As(err, &held):
			return nil, fmt.Errorf("lab %s: %w", l.name, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("lab %s: another command (process %d) works with it; wait for it to end", l.name, held.PID)
		}
	}
}

func (l *Lab) build(ctx context.Context, bare bool) error {
	if err := l.save(); err != nil {
		return err
	}
	l.report(fmt.Sprintf("%d machines", len(l.Machines())))
	if err := each(parallel, l.Machines(), func(name string) error { return l.makeMachine(ctx, name) }); err != nil {
		return err
	}
	l.report("cables and addresses")
	if err := l.makeFabric(ctx); err != nil {
		return err
	}
	if err := l.writeConfig(); err != nil {
		return err
	}
	l.report(fmt.Sprintf("routers: %s", l.state.Router))
	if err := l.startRouters(ctx); err != nil {
		return err
	}
	if !bare {
		if err := l.populate(ctx); err != nil {
			return err
		}
	}
	l.report("routes")
	if err := l.Converge(ctx); err != nil {
		return err
	}
	l.state.Up = true
	return l.save()
}

// populate starts the agents and makes the endpoints.
func (l *Lab) populate(ctx context.Context) error {
	l.report(fmt.Sprintf("%d agents", len(l.state.Hosts)))
	err := each(parallel, l.state.Hosts, func(h topology.Host) error { return l.StartAgent(ctx, h.Name) })
	if err != nil {
		return err
	}
	l.report(fmt.Sprintf("%d endpoints", len(l.state.Hosts)*l.state.Size.Endpoints))
	for _, h := range l.state.Hosts {
		for n := 1; n <= l.state.Size.Endpoints; n++ {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("make the endpoints: %w", context.Cause(ctx))
			}
			if _, err := l.AddEndpoint(ctx, Endpoint{Name: fmt.Sprintf("%s-e%d", h.Name, n), Host: h.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// each runs fn for every item, limit at a time, and joins the errors.
func each[T any](limit int, items []T, fn func(T) error) error {
	errs := make([]error, len(items))
	var g errgroup.Group
	g.SetLimit(limit)
	for i, item := range items {
		g.Go(func() error {
			errs[i] = fn(item)
			return nil
		})
	}
	_ = g.Wait() // the functions keep their errors in errs
	return errors.Join(errs...)
}
