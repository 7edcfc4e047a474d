package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hexapod.dev/lab/place"
	"hexapod.dev/lab/topology"
)

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
	return l.number(p)
}

func (l *Lab) host(name string) (topology.Host, bool) {
	for _, h := range l.state.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return topology.Host{}, false
}

// makeFabric lays the cables.
func (l *Lab) makeFabric(ctx context.Context) error {
	places := map[string]place.Place{}
	for _, m := range l.Machines() {
		places[m] = l.place(m)
	}
	for _, link := range l.state.Size.Links(l.state.Hosts) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("lay the cables: %w", context.Cause(ctx))
		}
		if err := connect(places, link); err != nil {
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
	for _, cable := range l.state.Size.HostLinks(h) {
		tor := cable.Above.Machine
		if err := connect(map[string]place.Place{tor: l.place(tor), name: l.place(name)}, cable); err != nil {
			return err
		}
	}
	if err := l.writeConfig(); err != nil {
		return err
	}
	if err := l.renewRouters(); err != nil {
		return err
	}
	if err := l.StartAgent(ctx, name); err != nil {
		return err
	}
	return l.Converge(ctx)
}
