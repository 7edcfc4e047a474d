package delegation

import (
	"fmt"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	edge "hexapod.dev/edge/dhcp"
)

// Report tells what is held, until when, and what lives in prefixes that are no longer for new endpoints.
func (d *Delegation) Report() []local.Object {
	if d == nil {
		return nil
	}
	s, status, uplink := d.options.Snapshot(), d.client.Status(), d.options.Uplink
	o := local.Object{Kind: "delegation", Name: uplink.Name, State: local.Done}
	switch {
	case s.Delegated.Prefix.IsValid():
		o.Detail = describe(status, s.Delegated.Prefix.String())
	case status.Holding.Prefix.IsValid():
		o.State, o.Why = local.Failed, fmt.Sprintf("%s: %s", status.Holding.Prefix, d.options.Fit(status.Holding.Prefix))
	case status.State == edge.Idle && uplink.PrefixSource == v1alpha1.PrefixAuto:
		o.State, o.Why = local.Pending, string(notAdvertised)
	case len(status.Holding.Draining) > 0:
		o.State, o.Why = local.Failed, string(prefixDraining)
	case status.Refusal != edge.Success:
		o.State, o.Why = local.Failed, fmt.Sprintf("%s: the server says that it has none (status %d)", notDelegated, status.Refusal)
	case status.Error != nil:
		o.State, o.Why = local.Failed, fmt.Sprintf("%s: %s", notDelegated, local.OneLine(status.Error))
	default:
		o.State, o.Why = local.Pending, string(notDelegated)
	}
	list := []local.Object{o}
	for _, drained := range status.Holding.Draining {
		living := 0
		for _, e := range s.Endpoints.All() {
			for _, addr := range e.Addrs {
				if drained.Prefix.Contains(addr) {
					living++
				}
			}
		}
		what := "no new endpoints"
		if drained.Withdrawn {
			what = "taken back by the server, no new endpoints"
		}
		list = append(list, local.Object{Kind: "delegation", Name: drained.Prefix.String(), State: local.Done,
			Detail: fmt.Sprintf("%s; %d live in it, and it ends at %s", what, living, drained.Valid.UTC().Format(time.RFC3339))})
	}
	return list
}

// describe says how a prefix is held.
func describe(s edge.Status, prefix string) string {
	for _, d := range s.Lease.Prefixes {
		if d.Prefix.String() == prefix {
			return fmt.Sprintf("%s %s, to renew at %s, ends at %s", prefix, s.State, s.Lease.T1.UTC().Format(time.RFC3339), d.Valid.UTC().Format(time.RFC3339))
		}
	}
	return prefix
}
