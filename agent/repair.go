package agent

import (
	"context"
	"errors"
	"io/fs"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// disturb notes that somebody changed what belongs to the endpoint of k, and asks for its repair.
func (a *Agent) disturb(k desired.EndpointKey) {
	a.metrics.events.WithLabelValues(partEndpoints).Inc()
	a.dirty.Add(k)
	a.runners[partEndpoints].Kick()
}

// repair makes each disturbed endpoint as wanted again. It costs what an ADD costs, so one container that ends does not make the
// agent look at all of them.
func (a *Agent) repair(ctx context.Context) error {
	var errs []error
	for _, k := range a.dirty.Take() {
		if err := a.repairOne(ctx, k); err != nil {
			a.dirty.Add(k) // the runner comes back
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a *Agent) repairOne(ctx context.Context, k desired.EndpointKey) error {
	unlock, err := a.keys.Lock(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	e, living := a.sections.Endpoint(k)
	if !living {
		return nil
	}
	return a.repairHeld(ctx, e)
}

// repairHeld makes e as wanted, or retires it when its namespace has gone. The caller holds its key.
func (a *Agent) repairHeld(ctx context.Context, e desired.Endpoint) error {
	why := a.abandoned(e)
	if why == "" && a.board.done(e.Key) && !a.kernel.knows(e.NetNS) {
		why = netNSOther
	}
	if why != "" {
		l, there, err := a.kernel.conn.Link(desired.LinkName(e.Key))
		if err != nil {
			return err
		}
		if there && l.OfEndpoint() { // the namespace lives on without its path: only what lies outside it can be repaired
			a.kick(partRoutes, partNeighbours)
			return nil
		}
		a.log.Info("endpoint retired", "endpoint", e.Key, "why", why)
		return a.disconnect(ctx, e)
	}
	err := a.connect(ctx, nil, e)
	if err == nil {
		a.metrics.changes.WithLabelValues(partEndpoints, "change").Inc()
		a.log.Info("endpoint repaired: something else had changed its link, route or neighbour", "endpoint", e.Key)
	}
	return err
}

// Why an endpoint that nobody deleted is no more.
const (
	netNSGone  desired.Why = "its network namespace has gone"
	netNSHosts desired.Why = "the path of its network namespace leads to the host's own"
	netNSOther desired.Why = "the path of its network namespace leads to another one by now"
)

// abandoned tells why the namespace of e is not e's any more; empty when it is.
func (a *Agent) abandoned(e desired.Endpoint) desired.Why {
	ns, err := netns.Open(e.NetNS)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return netNSGone
	case err != nil:
		return "" // not known: kept
	}
	defer ns.Close()
	if id, err := ns.ID(); err == nil && id == a.ownNS {
		return netNSHosts
	}
	return ""
}

// knows tells whether a link of this host ever led into the namespace at path: the kernel has a number for it then, as long as it
// lives (rtnetlink, RTM_GETNSID). Inodes of namespaces are used again at once and tell nothing. What cannot be found out counts as known.
func (k *kernel) knows(path string) bool {
	ns, err := netns.Open(path)
	if err != nil {
		return true
	}
	defer ns.Close()
	nsid := rtnl.NoNSID
	return k.conn.Do(rtnl.PeerNSID(ns.FD(), &nsid)) != nil || nsid != rtnl.NoNSID
}
