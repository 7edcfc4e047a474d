package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/linux/datapath"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// programs is the agent's part in the datapath.
type programs struct {
	table *datapath.Table // nil: none
	why   string          // why there is none
	slow  atomic.Pointer[string]
	four  atomic.Bool // IPv4 packets may go on directly, too: nobody has rules for forwarding them
}

// openDatapath loads the programs, or takes off those of an earlier agent where the configuration wants none.
func (a *Agent) openDatapath(closing *closers) error {
	mode := a.config.Load().programs
	o := datapath.Options{NS: a.options.NS, Root: a.options.BPF, Run: a.options.RunDir}
	if mode == v1alpha1.DatapathOff {
		a.datapath.why = "switched off in the configuration"
		_, err := datapath.Remove(context.Background(), o)
		return err
	}
	table, err := datapath.Open(o)
	if err != nil {
		if mode == v1alpha1.DatapathRequired {
			return err
		}
		// What an earlier agent left would cut endpoints off that get no programs from now on.
		_, off := datapath.Remove(context.Background(), o)
		err = errors.Join(err, off)
		a.datapath.why = local.OneLine(err)
		a.log.Warn("no eBPF programs on this host: endpoints are not kept from using others' addresses", "error", err)
		return nil
	}
	closing.add(table)
	a.datapath.table, a.kernel.datapath = table, table
	if err := a.kernel.links.GatewayAnswered(context.Background()); err != nil {
		return err
	}
	return nil
}

// judgeAll makes programs, maps and guard as wanted.
func (a *Agent) judgeAll(ctx context.Context) error {
	if a.datapath.table == nil {
		return nil
	}
	a.passing.Lock()
	defer a.passing.Unlock()
	want := model.WantFor(a.sections.Snapshot())
	delta, err := a.datapath.table.Reconcile(ctx, want)
	a.others.want = nil
	if err == nil {
		a.others.want = &want
	}
	a.changed(partDatapath, delta)
	return errors.Join(err, a.chooseWay(ctx))
}

// chooseWay hands packets on directly unless that would pass by rules that others made for forwarding on this host.
func (a *Agent) chooseWay(ctx context.Context) error {
	why, rules4 := "", ""
	switch a.config.Load().fast {
	case v1alpha1.FastPathForce:
	case v1alpha1.FastPathOff:
		why = "switched off in the configuration"
	default:
		rules, four, err := a.datapath.table.ForeignRules(ctx)
		rules4 = four
		if err != nil {
			why = "the rules of this host cannot be read: " + local.OneLine(err)
		} else if rules != "" {
			why = "others have rules for forwarding: " + rules
		}
	}
	four := why == "" && rules4 == ""
	before, changed := a.datapath.slow.Swap(&why), a.datapath.four.Swap(four) != four
	if before == nil || *before != why {
		a.log.Info("way of packets of endpoints", "direct", why == "", "why", why)
		changed = true
	}
	if changed {
		a.kick(partNAT64)
	}
	return a.datapath.table.Maps().SetFast(why == "")
}

// hangsOn tells whether programs should hang on the link with this index.
func (p *programs) hangsOn(index int) bool { return p.table != nil && p.table.HangsOn(index) }

// detail is the line of the status.
func (p *programs) detail() string {
	if p.table == nil {
		return "none: " + p.why
	}
	way := "direct"
	if why := p.slow.Load(); why != nil && *why != "" {
		way = "the kernel's (" + *why + ")"
	}
	return fmt.Sprintf("programs of layout %d, way of packets: %s", p.table.Layout(), way)
}

// reportProtection tells of each uplink on which inside sources are believed without a proof.
func (a *Agent) reportProtection(s desired.Snapshot) []local.Object {
	if a.datapath.table == nil {
		return nil
	}
	var list []local.Object
	for _, u := range model.WantFor(s).Unproved {
		list = append(list, local.Object{Kind: "protection", Name: u.Uplink, State: local.Done, Detail: "not protected: " + string(u.Why)})
	}
	return list
}

// kinOf lists the other endpoints of the container of e: the interfaces that CNI calls eth0 and net1.
func (a *Agent) kinOf(e desired.Endpoint) []desired.Endpoint {
	if a.datapath.table == nil {
		return nil
	}
	return a.sections.Kin(e.Key)
}
