package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/lab/place"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/flock"
)

// parallel is how many machines are made at a time.
const parallel = 4

// Options say how a lab is made.
type Options struct {
	Name   string // DefaultName when empty
	Size   topology.Size
	Bin    string       // folder of hexapod and hexapod-cni; empty: that of the running program
	Bare   bool         // no agents and no endpoints: the fabric alone
	Report func(string) // gets a line for every step; may be nil
}

// Up makes a lab and leaves it running. When it fails, what there is stays for a look; Down removes it.
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
	l.state = state{Size: o.Size, Bin: o.Bin, Hosts: o.Size.AllHosts(), Endpoints: map[string]Endpoint{}}
	if err := errors.Join(l.build(ctx, o.Bare), lock.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %[1]s: %[2]w\nWhat there is of it stays for a look: hexapod lab down --name %[1]s removes it", o.Name, err), l.Close())
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
			return nil, fmt.Errorf("lab %s: another command (process %d) is changing it; wait for it to end", l.name, held.PID)
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
	l.report("cables, addresses and routes")
	if err := l.makeFabric(ctx); err != nil {
		return err
	}
	if err := l.writeConfig(); err != nil {
		return err
	}
	if !bare {
		if err := l.populate(ctx); err != nil {
			return err
		}
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

// holdCall are the arguments with which the program calls Hold.
var holdCall = []string{"lab", "hold"}

// Hold is the process that keeps one machine of a lab: it reads what to arrange from in, reports to out, and stays until ctx ends.
func Hold(ctx context.Context, in io.Reader, out io.WriteCloser) error {
	return place.Hold(ctx, in, out)
}

// makeMachine makes the folders and namespaces of one machine.
func (l *Lab) makeMachine(ctx context.Context, name string) error {
	for _, folder := range []string{"run", "etc", "var"} {
		if err := os.MkdirAll(l.folder(name, folder), 0o755); err != nil {
			return fmt.Errorf("make the folders of %s: %w", name, err)
		}
	}
	p := l.place(name)
	err := p.Make(ctx, filepath.Join(l.state.Bin, "hexapod"), holdCall, place.Spec{
		Run: l.folder(name, "run"),
		Binds: []place.Bind{
			{From: l.folder(name, "etc"), To: "/etc/hexapod"},
			{From: l.folder(name, "var"), To: "/var/lib/hexapod"},
		},
	})
	if err != nil {
		return err
	}
	_, isHost := l.host(name)
	if err := prepare(p, !isHost); err != nil {
		return err
	}
	if isHost {
		return nil
	}
	return number(p)
}

func (l *Lab) host(name string) (topology.Host, bool) {
	for _, h := range l.state.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return topology.Host{}, false
}

// makeFabric lays the cables and writes the routes of all machines.
func (l *Lab) makeFabric(ctx context.Context) error {
	places := map[string]place.Place{}
	for _, m := range l.Machines() {
		places[m] = l.place(m)
	}
	for _, link := range topology.Links(l.state.Size.Racks, l.state.Hosts) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("lay the cables: %w", context.Cause(ctx))
		}
		if err := connect(places, link); err != nil {
			return err
		}
	}
	return l.RestoreRoutes()
}

// RestoreRoutes writes every route of the lab that is not there.
func (l *Lab) RestoreRoutes() error {
	p, err := prefixes(l.Plan())
	if err != nil {
		return err
	}
	for machine, routes := range topology.Routes(l.state.Size.Racks, l.state.Hosts, p) {
		if err := addRoutes(l.place(machine), routes); err != nil {
			return err
		}
	}
	return nil
}

// AddHost makes one more host in a running lab, with its agent: the other agents learn of it from their configuration.
func (l *Lab) AddHost(ctx context.Context, name string) error {
	h, err := topology.ParseHost(name)
	if err != nil {
		return err
	}
	if _, there := l.host(name); there {
		return fmt.Errorf("host %s: exists already", name)
	}
	if h.Rack > l.state.Size.Racks || len(l.state.Hosts) >= topology.MaxHosts {
		return fmt.Errorf("host %s: lab %s has %d racks and %d of at most %d hosts", name, l.name, l.state.Size.Racks, len(l.state.Hosts), topology.MaxHosts)
	}
	l.state.Hosts = append(l.state.Hosts, h)
	if err := l.save(); err != nil {
		return err
	}
	if err := l.makeMachine(ctx, name); err != nil {
		return err
	}
	tor := topology.TorName(h.Rack)
	places := map[string]place.Place{tor: l.place(tor), name: l.place(name)}
	if err := connect(places, topology.HostLink(h)); err != nil {
		return err
	}
	p, err := prefixes(l.Plan())
	if err != nil {
		return err
	}
	if err := addRoutes(places[tor], []topology.Route{topology.HostRoute(h, p.Host[name])}); err != nil {
		return err
	}
	if err := addRoutes(places[name], []topology.Route{topology.Default}); err != nil {
		return err
	}
	if err := l.writeConfig(); err != nil {
		return err
	}
	return l.StartAgent(ctx, name)
}

// DeleteRoute removes a route that the lab wrote on one of its machines.
func (l *Lab) DeleteRoute(machine, dst string) error {
	p, netns, err := l.find(machine)
	if err != nil {
		return err
	}
	if netns != "" {
		return fmt.Errorf("route of %s: the lab writes routes on machines only, not on endpoints", machine)
	}
	prefix, err := l.rangeOf(dst)
	if err != nil {
		return err
	}
	return deleteRoute(p, prefix)
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
