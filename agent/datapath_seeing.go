package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/datapath"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

var _ local.Seeing = (*Agent)(nil)

var errNoPrograms = errors.New("this host has no eBPF programs; hexapod status tells why")

// Flows implements local.Seeing.
func (a *Agent) Flows() ([]local.Flow, error) {
	if a.datapath.table == nil {
		return nil, errNoPrograms
	}
	flows, err := a.datapath.table.Maps().Flows()
	if err != nil {
		return nil, err
	}
	now, err := datapath.Now()
	if err != nil {
		return nil, err
	}
	list := make([]local.Flow, len(flows))
	for i, f := range flows {
		from, to := netip.AddrPortFrom(f.Key.A, f.Key.APort), netip.AddrPortFrom(f.Key.B, f.Key.BPort)
		if f.Flags&model.FirstA == 0 {
			from, to = to, from
		}
		list[i] = local.Flow{From: from, To: to, Proto: f.Key.Proto, State: f.State.String(), Idle: int(now - f.Seen)}
		for _, end := range []netip.Addr{from.Addr(), to.Addr()} {
			if k, ok := a.sections.Holder(end); ok {
				list[i].Endpoint = k.String()
				break
			}
		}
	}
	slices.SortFunc(list, func(x, y local.Flow) int {
		if c := x.From.Compare(y.From); c != 0 {
			return c
		}
		return x.To.Compare(y.To)
	})
	return list, nil
}

// linkName is the name of a link, or its index where it is gone.
func (a *Agent) linkName(index uint32) string {
	name, err := a.kernel.linkName(int(index))
	if err != nil {
		return fmt.Sprintf("link %d", index)
	}
	return name
}

// Trace implements local.Seeing: it writes the packet and sends it through the programs, first where it comes in and then, if the
// kernel is to deliver it, where it goes out.
func (a *Agent) Trace(q local.Question) ([]local.Step, error) {
	if a.datapath.table == nil {
		return nil, errNoPrograms
	}
	p, link, err := a.entry(q)
	if err != nil {
		return nil, err
	}
	var steps []local.Step
	step := func(p model.Packet, link string) (model.Outcome, error) {
		o, err := a.datapath.table.Trace(p)
		if err == nil {
			steps = append(steps, local.Step{Place: p.Place.String(), Link: link, Why: o.Why.String(), Fate: a.fate(o)})
		}
		return o, err
	}
	o, err := step(p, link)
	if err != nil || o.Fate != model.Pass {
		return steps, err
	}
	k, here := a.sections.Holder(q.To)
	if !here {
		return steps, nil
	}
	out := desired.LinkName(k)
	index, err := a.kernel.linkIndex(out)
	if err != nil {
		return steps, err
	}
	_, err = step(model.Packet{Place: model.ToEndpoint, Frame: o.Frame, Link: uint32(index), Came: p.Link, Mark: o.Mark}, out)
	return steps, err
}

func (a *Agent) fate(o model.Outcome) string {
	switch o.Fate {
	case model.Drop:
		return "dropped"
	case model.ToPeer:
		return "handed to the endpoint behind " + a.linkName(o.Out)
	case model.ToNext:
		return "sent out of " + a.linkName(o.Out)
	}
	return "goes on in the kernel"
}

// entry writes the described packet as it would be met first.
func (a *Agent) entry(q local.Question) (p model.Packet, link string, err error) {
	var src, dst desired.MAC
	if k, here := a.sections.Holder(q.From); here && q.Via == "" {
		p.Place, link = model.FromEndpoint, desired.LinkName(k)
		src, dst = desired.EndpointMAC(k), desired.HostMAC(k)
	} else {
		p.Place, link = model.FromUplink, q.Via
		uplinks := a.sections.Snapshot().Uplinks()
		if link == "" && len(uplinks) == 1 {
			link = uplinks[0].Name
		}
		if link == "" {
			return p, "", fmt.Errorf("%s is no address of an endpoint here, and there are %d uplinks: say by which it arrives", q.From, len(uplinks))
		}
	}
	index, err := a.kernel.linkIndex(link)
	if err != nil {
		return p, link, err
	}
	p.Link, p.Came = uint32(index), uint32(index)
	p.Frame, err = model.Write(src, dst, model.Description{From: q.From, To: q.To, Proto: q.Proto, FromPort: q.FromPort, ToPort: q.ToPort})
	return p, link, err
}
