package seeing

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/datapath"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/desired"
)

// Flows lists the living flows, by who began them.
func (o *Observer) Flows() ([]local.Flow, error) {
	if o.options.Programs() == nil {
		return nil, errNoPrograms
	}
	flows, err := o.options.Programs().Maps().Flows()
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
			if k, ok := o.options.Holder(end); ok {
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

// Trace writes the packet and sends it through the programs, first where it comes in and then, if the
// kernel is to deliver it, where it goes out.
func (o *Observer) Trace(q local.Question) ([]local.Step, error) {
	if o.options.Programs() == nil {
		return nil, errNoPrograms
	}
	p, link, err := o.entry(q)
	if err != nil {
		return nil, err
	}
	var steps []local.Step
	step := func(p model.Packet, link string) (model.Outcome, error) {
		out, err := o.options.Programs().Trace(p)
		if err == nil {
			steps = append(steps, local.Step{Place: p.Place.String(), Link: link, Why: out.Why.String(), Fate: o.fate(out)})
		}
		return out, err
	}
	in, err := step(p, link)
	if err != nil || in.Fate != model.Pass {
		return steps, err
	}
	k, here := o.options.Holder(q.To)
	if !here {
		return steps, nil
	}
	out := desired.LinkName(k)
	index, err := o.linkIndex(out)
	if err != nil {
		return steps, err
	}
	_, err = step(model.Packet{Place: model.ToEndpoint, Frame: in.Frame, Link: uint32(index), Came: p.Link, Mark: in.Mark}, out)
	return steps, err
}

func (o *Observer) fate(out model.Outcome) string {
	switch out.Fate {
	case model.Drop:
		return "dropped"
	case model.ToPeer:
		return "handed to the endpoint behind " + o.linkName(out.Out)
	case model.ToNext:
		return "sent out of " + o.linkName(out.Out)
	}
	return "goes on in the kernel"
}

// entry writes the described packet as it would be met first.
func (o *Observer) entry(q local.Question) (p model.Packet, link string, err error) {
	var src, dst desired.MAC
	if k, here := o.options.Holder(q.From); here && q.Via == "" {
		p.Place, link = model.FromEndpoint, desired.LinkName(k)
		src, dst = desired.EndpointMAC(k), desired.HostMAC(k)
	} else {
		p.Place, link = model.FromUplink, q.Via
		uplinks := o.options.Snapshot().Uplinks()
		if link == "" && len(uplinks) == 1 {
			link = uplinks[0].Name
		}
		if link == "" {
			return p, "", fmt.Errorf("%s is no address of an endpoint here, and there are %d uplinks: say by which it arrives", q.From, len(uplinks))
		}
	}
	index, err := o.linkIndex(link)
	if err != nil {
		return p, link, err
	}
	p.Link, p.Came = uint32(index), uint32(index)
	p.Frame, err = model.Write(src, dst, model.Description{From: q.From, To: q.To, Proto: q.Proto, FromPort: q.FromPort, ToPort: q.ToPort})
	return p, link, err
}
