package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"hexapod.dev/lab/router"
	"hexapod.dev/lab/topology"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/addressplan/render"
	"hexapod.dev/model/prefix"
)

const groupRouter = "router"

// outsideASN is the number of the network outside: one that two bytes cannot hold, out of those for documentation (RFC 5398).
const outsideASN = 65538

// routerConfigs returns the routers of a lab by machine, as the plan has them.
func (l *Lab) routerConfigs() (map[string]router.Config, error) {
	p, size := l.Plan(), l.state.Size
	all := map[string]router.Config{topology.Outside: outside(p)}
	ports := map[string]string{}
	for _, h := range l.state.Hosts {
		ports[h.Name] = topology.DownlinkName(h.Name, 0)
	}
	for _, t := range size.Tors() {
		c, err := l.tor(p, t, ports)
		if err != nil {
			return nil, fmt.Errorf("router %s: %w", t.Name, err)
		}
		all[t.Name] = c
		ports[clusterName+"/"+rackName(t.Rack)] = topology.DownlinkName(topology.TorName(t.Rack, 0), 0)
	}
	spine, err := render.RouterOf(p, render.Scope{Spine: 1}, render.Options{Ports: ports, Outside: []string{topology.UplinkName(0)}})
	if err != nil {
		return nil, fmt.Errorf("router %s: %w", topology.Spine, err)
	}
	peers := spine.Peers
	spine.Peers = nil
	for _, t := range size.Tors() { // what a ToR tells is what the spine takes
		p := at(peers, topology.DownlinkName(topology.TorName(t.Rack, 0), 0), topology.DownlinkName(t.Name, 0))
		tor := all[t.Name].Peers
		p.In = tor[len(tor)-1].Out
		spine.Peers = append(spine.Peers, p)
	}
	spine.Peers = append(spine.Peers, peers[len(peers)-1]) // the way out
	all[topology.Spine] = router.Config{Router: spine}
	return all, nil
}

// outside is the network beyond the fabric. It has the way to everywhere, which for what is not the fabric's ends there.
func outside(p addressplan.Plan) router.Config {
	everywhere := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	return router.Config{Router: render.Router{
		Name: topology.Outside, About: "the network outside", ASN: outsideASN, RouterID: netip.AddrFrom4([4]byte{192, 0, 2, 1}),
		Loopback: topology.OutsideAddr, Discard: []netip.Prefix{everywhere},
		Peers: []render.RouterPeer{{
			Name: topology.Spine, Port: topology.DownlinkName(topology.Spine, 0), About: "spine of the lab", ASN: p.SpineASN,
			In: prefix.Exactly(p.Prefix), Out: prefix.Exactly(everywhere), Limit: 16,
		}},
	}}
}

// tor is a ToR with a session on every cable.
func (l *Lab) tor(p addressplan.Plan, t topology.Tor, ports map[string]string) (router.Config, error) {
	scope, options := render.Scope{Rack: clusterName + "/" + rackName(t.Rack)}, render.Options{Ports: ports, SpinePorts: []string{topology.UplinkName(0)}}
	r, err := render.RouterOf(p, scope, options)
	if err != nil {
		return router.Config{}, err
	}
	c := router.Config{Router: r, Shared: l.state.Size.TorsEach > 1, BFD: l.state.BFD}
	l.tells(t.Name, &c)
	hosts := r.Peers[:len(r.Peers)-1]
	up := r.Peers[len(r.Peers)-1]
	if c.Shared {
		for _, m := range c.Members { // what goes up when a host is lost here that the other ToR of the rack may have
			up.Out = append(up.Out, prefix.Match{Prefix: m})
		}
	}
	if t.Nth > 0 { // it is numbered as the ToR of a rack that no lab has
		other := addressplan.Rack{Name: t.Name, Number: uint64(topology.MaxRacks + t.Rack)}
		cluster := p.Clusters[0]
		var err1, err2 error
		c.RouterID, err1 = p.ToRRouterID(cluster, other)
		c.Loopback, err2 = p.ToRLoopback(cluster, other)
		if err := errors.Join(err1, err2); err != nil {
			return c, err
		}
		up.Out = append(up.Out, prefix.Exactly(netip.PrefixFrom(c.Loopback, 128))...)
	}
	c.Peers = nil
	for _, h := range l.state.Hosts {
		for n, cable := range l.state.Size.HostLinks(h) {
			if cable.Above.Machine == t.Name {
				c.Peers = append(c.Peers, at(hosts, topology.DownlinkName(h.Name, 0), topology.DownlinkName(h.Name, n)))
			}
		}
	}
	c.Peers = append(c.Peers, up)
	return c, nil
}

// at is the session that the plan has at one port, at another: the plan knows one cable for each neighbour.
func at(peers []render.RouterPeer, planned, port string) render.RouterPeer {
	p := peers[slices.IndexFunc(peers, func(p render.RouterPeer) bool { return p.Port == planned })]
	if port != planned {
		p.Name, p.Port = port, port
	}
	return p
}

// writeRouter writes the file of a router and returns where its machine sees it, and whether it is another one than before.
func (l *Lab) writeRouter(d daemons, machine string, c router.Config) (path string, changed bool, err error) {
	f, err := d.file(c)
	if err != nil {
		return "", false, fmt.Errorf("router %s: %w", machine, err)
	}
	here := filepath.Join(l.folder(machine, "etc"), f.Name)
	path = filepath.Join("/etc/hexapod", f.Name)
	if before, err := os.ReadFile(here); err == nil && string(before) == f.Text {
		return path, false, nil
	}
	if err := errors.Join(os.WriteFile(here+".new", []byte(f.Text), 0o644), os.Rename(here+".new", here)); err != nil {
		return "", false, fmt.Errorf("router %s: %w", machine, err)
	}
	return path, true, nil
}

// startRouters starts the routers of the lab.
func (l *Lab) startRouters(ctx context.Context) error {
	configs, err := l.routerConfigs()
	if err != nil {
		return err
	}
	d, err := l.state.Router.daemons()
	if err != nil {
		return err
	}
	return each(parallel, slices.Sorted(maps.Keys(configs)), func(machine string) error {
		file, _, err := l.writeRouter(d, machine, configs[machine])
		if err == nil {
			err = l.startRouter(ctx, d, machine, file)
		}
		if err == nil {
			err = d.load(l, machine, file)
		}
		return err
	})
}

func (l *Lab) startRouter(ctx context.Context, d daemons, machine, file string) error {
	// The daemons of FRR give up root before they make their sockets.
	run := filepath.Join(l.folder(machine, "run"), filepath.Base(d.folder()))
	if err := errors.Join(os.MkdirAll(run, 0o755), os.Chmod(run, 0o777)); err != nil {
		return fmt.Errorf("router %s: %w", machine, err)
	}
	log, err := os.OpenFile(l.folder(machine, "router.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("router %s: %w", machine, err)
	}
	defer log.Close() // the children have their own
	for _, p := range d.processes(l, file) {
		cmd := exec.Command(p.words[0], p.words[1:]...)
		cmd.Dir, cmd.Env = "/", l.environ()
		cmd.Stdout, cmd.Stderr = log, log
		if err := l.place(machine).Start(cmd, groupRouter, ""); err != nil {
			return err
		}
		go func() { _ = cmd.Wait() }() // reaps it when it ends while this process lives; check finds that it is gone
		if err := appears(ctx, filepath.Join(run, p.socket)); err != nil {
			return fmt.Errorf("router %s: %s: %w; its log is %s", machine, filepath.Base(p.words[0]), err, log.Name())
		}
	}
	return nil
}

// routerPatience bounds the start of one process of a router; it needs some tenths of a second.
const routerPatience = 30 * time.Second

// appears waits for the socket of a process.
func appears(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, routerPatience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("does not listen after %v", routerPatience)
		}
	}
}

// renewRouters makes running routers agree with the hosts there are.
func (l *Lab) renewRouters() error {
	configs, err := l.routerConfigs()
	if err != nil {
		return err
	}
	d, err := l.state.Router.daemons()
	if err != nil {
		return err
	}
	for machine, c := range configs {
		file, changed, err := l.writeRouter(d, machine, c)
		if err == nil && changed {
			err = d.reload(l, machine, file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkRouter is nil when all processes of a router run.
func (l *Lab) checkRouter(machine string) error {
	d, err := l.state.Router.daemons()
	if err != nil {
		return err
	}
	pids, err := l.place(machine).Group.Sub(groupRouter).PIDs()
	if err != nil {
		return err
	}
	if want := len(d.processes(l, "")); len(pids) != want {
		return fmt.Errorf("router of %s: %d of %d processes of %s run; its log is %s", machine, len(pids), want, l.state.Router, l.folder(machine, "router.log"))
	}
	return nil
}
