package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/rtnl"
)

// convergePatience bounds the wait for routes. Sessions need some seconds to find each other.
const convergePatience = 60 * time.Second

// Converge returns when every machine has the routes it needs: hosts and ToRs the way out, ToRs their hosts, the spine a route for
// each rack, the outside the fabric. Hosts without an agent are not waited for.
func (l *Lab) Converge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, convergePatience)
	defer cancel()
	want, err := l.wantedRoutes()
	if err != nil {
		return err
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		missing, err := l.missingRoutes(want)
		if err != nil || len(missing) == 0 {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("after %v these routes are missing: %s", convergePatience, strings.Join(missing, ", "))
		}
	}
}

// wantedRoutes lists the destinations that each machine has to reach, by the agents that run.
func (l *Lab) wantedRoutes() (map[string][]netip.Prefix, error) {
	everywhere := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	want := map[string][]netip.Prefix{topology.Spine: {everywhere}}
	configs, err := l.routerConfigs()
	if err != nil {
		return nil, err
	}
	plan := l.Plan()
	for _, t := range l.state.Size.Tors() {
		want[t.Name] = []netip.Prefix{everywhere}
		a := configs[t.Name].Loopback
		want[topology.Spine] = append(want[topology.Spine], netip.PrefixFrom(a, a.BitLen()))
	}
	for i, h := range l.state.Hosts {
		runs, err := l.AgentRuns(h.Name)
		if err != nil {
			return nil, err
		}
		if !runs {
			continue
		}
		prefix, err := plan.PrefixOf(plan.Hosts[i]) // the plan keeps the order of the hosts
		if err != nil {
			return nil, err
		}
		want[h.Name] = []netip.Prefix{everywhere}
		want[topology.Outside] = []netip.Prefix{fabricPrefix}
		for _, cable := range l.state.Size.HostLinks(h) {
			want[cable.Above.Machine] = append(want[cable.Above.Machine], prefix)
		}
		rack := configs[topology.TorName(h.Rack, 0)].Discard[0]
		if !slices.Contains(want[topology.Spine], rack) {
			want[topology.Spine] = append(want[topology.Spine], rack)
		}
	}
	return want, nil
}

// missingRoutes looks into the kernels.
func (l *Lab) missingRoutes(want map[string][]netip.Prefix) (missing []string, err error) {
	for _, machine := range l.Machines() {
		if len(want[machine]) == 0 {
			continue
		}
		var have []rtnl.Route
		err := inside(l.place(machine), func(k kernel) (err error) {
			have, err = k.conn.Routes(unix.RT_TABLE_MAIN, 0)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range want[machine] {
			if !slices.ContainsFunc(have, func(r rtnl.Route) bool { return r.Dst == p && r.Type == unix.RTN_UNICAST }) {
				missing = append(missing, fmt.Sprintf("%s on %s", p, machine))
			}
		}
	}
	return missing, nil
}
