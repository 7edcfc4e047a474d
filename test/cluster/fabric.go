package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"hexapod.dev/lab/router"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/addressplan/render"
)

// Numbers of the fabric below a cluster.
const (
	planName  = "home"
	racks     = 2
	spineASN  = 4200100000
	rackLabel = "topology.hexapod.dev/rack"
)

// Link-local addresses of a cable's ends, as in the lab.
const (
	above = "fe80::1"
	below = "fe80::2"
)

// tors are the routers that the nodes hang on: one of each rack, and the router is their spine. A flat cluster has none.
func (c *Cluster) tors() []string {
	if c.Options.Fabric != BGP {
		return nil
	}
	var names []string
	for r := range racks {
		names = append(names, fmt.Sprintf("tor%d", r+1))
	}
	return names
}

// routers are the machines that are no nodes.
func (c *Cluster) routers() []string { return append([]string{Router}, c.tors()...) }

// rack of a node, from 1: they are dealt out in turn.
func (c *Cluster) rack(node string) int { return slices.Index(c.Nodes(), node)%racks + 1 }

// plan is what the controller was told, and which numbers it gave out.
func (c *Cluster) plan(prefixes map[string]netip.Prefix) (addressplan.Plan, error) {
	cluster := addressplan.Cluster{Name: planName, Number: 1}
	for r := 1; r <= racks; r++ {
		cluster.Racks = append(cluster.Racks, addressplan.Rack{Name: fmt.Sprintf("r%d", r), Number: uint64(r)})
	}
	p := addressplan.Plan{Name: planName, Prefix: fabric6, Lengths: addressplan.DefaultLengths(), Lab: true, Rest: addressplan.DefaultRest,
		Clusters: []addressplan.Cluster{cluster}, SpineASN: spineASN}
	for _, n := range c.Nodes() {
		at := p.Locate(prefixes[n].Addr())
		if prefixes[n].Bits() != 64 || at.Rack.Number != uint64(c.rack(n)) {
			return p, fmt.Errorf("node %s has prefix %s, want one of rack %d", n, prefixes[n], c.rack(n))
		}
		p.Hosts = append(p.Hosts, addressplan.Host{Name: n, Cluster: planName, Rack: fmt.Sprintf("r%d", c.rack(n)), Number: at.Host.Number})
	}
	return p, nil
}

// cables lays a cable from each ToR to the spine and to its nodes. Nodes reach each other by routes that are there from the start, as in a
// data centre before its hosts speak: each has one address, its ToR knows the port. Pods' prefixes come by BGP alone.
func (c *Cluster) cables(ctx context.Context) error {
	lines := map[string][]string{}
	add := func(machine, format string, a ...any) {
		lines[machine] = append(lines[machine], fmt.Sprintf(format, a...))
	}
	cable := func(up, down, link, uplink string) error {
		p, err := c.machine(down)
		if err != nil {
			return err
		}
		pid, err := p.Holder()
		if err != nil {
			return err
		}
		add(up, "link add %s type veth peer name %s netns %d", link, uplink, pid)
		add(up, "address add %s/64 dev %s nodad", above, link)
		add(up, "link set %s up", link)
		add(down, "address add %s/64 dev %s nodad", below, uplink)
		add(down, "link set %s up", uplink)
		add(down, "route add default via %s dev %s", above, uplink)
		return nil
	}
	add(Router, "address add %s/128 dev lo", c.nodeIPs(Router)[0])
	for _, t := range c.tors() {
		if err := cable(Router, t, "to-"+t, "up0"); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes() {
		tor, ip := c.tors()[c.rack(n)-1], c.nodeIPs(n)[0]
		if err := cable(tor, n, "to-"+n, "eth0"); err != nil {
			return err
		}
		add(n, "address add %s/128 dev eth0 nodad", ip)
		add(tor, "route add %s via %s dev to-%s", ip, below, n)
		add(Router, "route add %s via %s dev to-%s", ip, below, tor)
	}
	for _, m := range append(c.routers(), c.Nodes()...) {
		set := []string{"net.ipv6.conf.default.addr_gen_mode=1", "net.ipv6.conf.default.accept_ra=0"}
		if !slices.Contains(c.Nodes(), m) {
			set = append(set, "net.ipv6.conf.all.forwarding=1")
		}
		if err := c.sysctl(ctx, m, set...); err != nil {
			return err
		}
	}
	for _, m := range append(c.routers(), c.Nodes()...) { // from the top: a cable is made by its upper end
		if err := c.ip(ctx, m, lines[m]); err != nil {
			return err
		}
	}
	return nil
}

// speak starts the routers' BGP for nodes that have their prefixes, as an operator does with `plan render`.
func (c *Cluster) speak(ctx context.Context, prefixes map[string]netip.Prefix) error {
	p, err := c.plan(prefixes)
	if err != nil {
		return err
	}
	ports := map[string]string{}
	for _, n := range c.Nodes() {
		ports[n] = "to-" + n
	}
	for r, t := range c.tors() {
		ports[fmt.Sprintf("%s/r%d", planName, r+1)] = "to-" + t
	}
	scopes := map[string]render.Scope{Router: {Spine: 1}}
	for r, t := range c.tors() {
		scopes[t] = render.Scope{Rack: fmt.Sprintf("%s/r%d", planName, r+1)}
	}
	for _, m := range c.routers() {
		r, err := render.RouterOf(p, scopes[m], render.Options{Ports: ports, SpinePorts: []string{"up0"}})
		if err != nil {
			return fmt.Errorf("plan router %s: %w", m, err)
		}
		if len(c.Gateways()) > 0 {
			c.passPref64(&r)
		}
		if err := c.ip(ctx, m, []string{fmt.Sprintf("address add %s/128 dev lo", r.Loopback)}); err != nil {
			return err
		}
		if err := c.startRouter(m, router.Config{Router: r}); err != nil {
			return fmt.Errorf("start router %s: %w", m, err)
		}
	}
	return nil
}

func (c *Cluster) startRouter(machine string, config router.Config) error {
	text, err := json.MarshalIndent(config, "", "  ")
	file := c.folder(machine, "router.json")
	if err == nil {
		err = write(file, text)
	}
	if err != nil {
		return err
	}
	log, err := os.Create(logFile(c.Logs(), machine, "router"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(c.Options.Programs, "hexapod"), "lab", "router", "--run", "/run/hexapod", file)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	err = c.place(machine).Start(cmd, "router", "")
	if err == nil {
		err = cmd.Process.Release()
	}
	return errors.Join(err, log.Close())
}

// awaitRoutes waits until the spine has learned the way to every node's pods.
func (c *Cluster) awaitRoutes(ctx context.Context, prefixes map[string]netip.Prefix) error {
	return until(ctx, "routes by BGP on the spine", func() error {
		for _, n := range c.Nodes() {
			out, err := c.output(ctx, Router, "ip", "-6", "route", "get", prefixes[n].Addr().Next().String())
			if err != nil {
				return fmt.Errorf("no route to %s of node %s: %s", prefixes[n], n, out)
			}
		}
		return nil
	})
}
