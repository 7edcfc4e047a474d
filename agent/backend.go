package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/link"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
)

var _ cni.Backend = (*Agent)(nil)

// Add implements cni.Backend: validate, find the identity, allocate durably, connect. A failed ADD leaves nothing; one that was
// killed half way is finished, with the same address, by the next ADD of the same key.
func (a *Agent) Add(ctx context.Context, r cni.Request) (_ cni.Attachment, err error) {
	defer func(start time.Time) { a.metrics.requested("add", start, err) }(time.Now())
	unlock, err := a.keys.Lock(ctx, r.Key)
	if err != nil {
		return cni.Attachment{}, err
	}
	defer unlock()
	if err := a.checkNetNS(r.NetNS); err != nil {
		return cni.Attachment{}, err
	}
	config := a.config.Load()
	_, has := a.book.Get(r.Key)
	if !has { // what lives on a retired host goes on
		if why := config.notServing(); why != "" {
			return cni.Attachment{}, cni.Errorf(cni.CodeTryAgain, "host %s: %s", a.options.Host, why)
		}
	}
	r.Fixed = a.claimed(config, r)
	fixed, err := config.fixed(r)
	if err != nil {
		return cni.Attachment{}, a.tellRefusal(r, err)
	}
	e, b, err := a.prepare(ctx, config, r, fixed, has)
	if err != nil {
		return cni.Attachment{}, errors.Join(a.tellRefusal(r, a.refused(err)), a.abandon(ctx, b, r.Key, has))
	}
	before, living := a.sections.Endpoint(r.Key)
	living = living && a.board.done(r.Key)
	if err := a.connect(ctx, b, e); err != nil {
		if living { // a second ADD of what works already must not take it down
			a.sections.SetEndpoint(before)
			a.disturb(r.Key)
		} else {
			err = errors.Join(err, a.disconnect(context.WithoutCancel(ctx), e))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return cni.Attachment{}, cni.Errorf(cni.CodeInvalidNetNS, "%w", err)
		}
		return cni.Attachment{}, err
	}
	a.tellOfClient(ctx, e)
	return a.attachment(e), nil
}

// Del implements cni.Backend. The retirement is durable when it returns; the link is reaped later, with others.
func (a *Agent) Del(ctx context.Context, r cni.Request) (err error) {
	defer func(start time.Time) { a.metrics.requested("del", start, err) }(time.Now())
	return a.remove(ctx, r.Key)
}

// remove disconnects and retires the endpoint of k. A missing one is no error.
func (a *Agent) remove(ctx context.Context, k desired.EndpointKey) error {
	unlock, err := a.keys.Lock(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	e, ok := a.sections.Endpoint(k)
	if !ok {
		e = desired.Endpoint{Key: k}
		if given, ok := a.book.Get(k); ok {
			e = a.endpointOf(given)
		}
	}
	return a.disconnect(ctx, e)
}

// Check implements cni.Backend: it looks at the kernel and changes nothing.
func (a *Agent) Check(ctx context.Context, r cni.Request) (_ cni.Attachment, err error) {
	defer func(start time.Time) { a.metrics.requested("check", start, err) }(time.Now())
	unlock, err := a.keys.Lock(ctx, r.Key)
	if err != nil {
		return cni.Attachment{}, err
	}
	defer unlock()
	e, ok := a.sections.Endpoint(r.Key)
	if !ok {
		return cni.Attachment{}, cni.Errorf(cni.CodeUnknownContainer, "endpoint %s: no ADD succeeded for it on this host", r.Key)
	}
	e.NetNS = r.NetNS
	if err := a.kernel.Check(ctx, e, a.sections.Snapshot().Sizes()); err != nil {
		return cni.Attachment{}, cni.Errorf(cni.CodeDiffers, "%w", err)
	}
	return a.attachment(e), nil
}

// GC implements cni.Backend.
func (a *Agent) GC(ctx context.Context, network string, valid []desired.EndpointKey) (err error) {
	defer func(start time.Time) { a.metrics.requested("gc", start, err) }(time.Now())
	keep := make(map[desired.EndpointKey]bool, len(valid))
	for _, k := range valid {
		keep[k] = true
	}
	var errs []error
	for _, given := range a.book.Living() {
		if k := given.Owner.Key; given.Owner.Network == network && !keep[k] {
			a.log.Info("endpoint removed: the runtime no longer names it", "endpoint", k, "network", network)
			errs = append(errs, a.remove(ctx, k))
		}
	}
	return errors.Join(errs...)
}

// Status implements cni.Backend: nil when an ADD can be served.
func (a *Agent) Status(context.Context) error {
	if why := a.config.Load().notServing(); why != "" {
		return cni.Errorf(cni.CodeNotAvailable, "host %s: %s", a.options.Host, why)
	}
	return a.bookWell()
}

// prepare writes down the addresses of an endpoint and returns it as it is to be. Its link is made meanwhile: one without an address is
// nothing that could be given out twice, and one that a kill leaves behind is removed at the next start. A link that could not be made
// is nil; what went wrong goes wrong again in connect, and is told there. had says that it has an address of before, which it keeps
// whatever fails.
//
// The disk works for another goroutine, since to begin that one takes some of the time that the link takes longer.
func (a *Agent) prepare(ctx context.Context, c *configuration, r cni.Request, fixed netip.Addr, had bool) (e desired.Endpoint, b *link.Begun, err error) {
	number, bandwidth := a.who(ctx, c, r)
	written := make(chan error, 1)
	go func() {
		var failed error
		e, failed = a.give(ctx, r, allocation.Request{Owner: ownerOf(r), Identity: identity.Number(number).Bits(), Fixed: fixed}, had)
		written <- failed
	}()
	b, _ = a.kernel.links.Begin(desired.LinkFor(desired.Endpoint{Key: r.Key, NetNS: r.NetNS}, a.sections.Snapshot().Sizes()))
	err = <-written
	e.Bandwidth = bandwidth
	if number != 0 {
		e.Identity = number // an endpoint that is added again may have got its number since
	}
	return e, b, err
}

// give writes down the addresses of an endpoint.
func (a *Agent) give(ctx context.Context, r cni.Request, q allocation.Request, had bool) (desired.Endpoint, error) {
	given, err := a.book.Allocate(ctx, q)
	if err != nil {
		return desired.Endpoint{}, err
	}
	e := endpointOf(given)
	e.NetNS = r.NetNS // it may be named anew for the same container; the address stays
	second, err := a.second.Allocate(ctx, given.Owner)
	if err == nil && second.IsValid() {
		e.Addrs = append(e.Addrs, second)
	}
	if err != nil && !had {
		err = errors.Join(err, a.book.Retire(context.WithoutCancel(ctx), r.Key))
	}
	return e, err
}

// tellRefusal tells whoever made a pod why it gets no address.
func (a *Agent) tellRefusal(r cni.Request, err error) error {
	if err != nil && a.options.Cluster != nil && r.Name != "" {
		a.options.Cluster.Refused(r.Namespace, r.Name, r.UID, err.Error())
	}
	return err
}

// abandon takes back a link that was made for an endpoint that gets no address; had says that it has one of before.
func (a *Agent) abandon(ctx context.Context, b *link.Begun, k desired.EndpointKey, had bool) error {
	if b == nil {
		return nil
	}
	err := b.Close()
	if !had {
		err = errors.Join(err, a.kernel.links.Retire(context.WithoutCancel(ctx), k))
		a.runners[partReap].Kick()
	}
	return err
}

// connect puts e into the snapshot and makes its link, routes and neighbours. The snapshot comes first: a pass that runs next
// must want what is made here. begun is the link if there is one, else nil.
func (a *Agent) connect(ctx context.Context, begun *link.Begun, e desired.Endpoint) error {
	if err := a.claim(ctx, e); err != nil {
		if begun != nil {
			err = errors.Join(err, begun.Close())
		}
		return err
	}
	a.passing.RLock()
	defer a.passing.RUnlock()
	a.sections.SetEndpoint(e)
	a.kick(partBypass)
	defer a.answerFor(ctx, e) // when its link is there
	defer a.speakOf(e)
	if err := a.policies.Ensure(e); err != nil {
		a.board.set(e.Key, err)
		if begun != nil {
			err = errors.Join(err, begun.Close())
		}
		return err
	}
	err := a.kernel.Connect(ctx, begun, e, a.kinOf(e), a.sections.Snapshot().Sizes())
	a.board.set(e.Key, err)
	a.seeing.Listen(e)
	a.runners[partComplete].Kick()
	return err
}

// disconnect takes e out of the snapshot and out of service, and retires it. A fixed address is free for the next endpoint only when
// nothing of this one is left that could be taken for it, so it is retired last; any other is nobody's ever after, and the disk and
// the kernel work side by side. All of it is tried whatever fails.
func (a *Agent) disconnect(ctx context.Context, e desired.Endpoint) error {
	retired := make(chan error, 1)
	retire := func() { retired <- errors.Join(a.book.Retire(ctx, e.Key), a.second.Retire(ctx, e.Key)) }
	given, _ := a.book.Get(e.Key)
	if !given.Fixed {
		go retire()
	}
	a.passing.RLock()
	a.sections.DeleteEndpoint(e.Key)
	a.answerNoMore(e)
	a.seeing.Forget(e.Key)
	a.speakOf(e)
	a.board.forget(e.Key)
	gone := errors.Join(a.kernel.Disconnect(ctx, e), a.policies.Remove(e))
	a.passing.RUnlock()
	a.runners[partReap].Kick()
	if c := a.clients.Load(); c != nil && slices.ContainsFunc(e.Addrs, func(x netip.Addr) bool { return slices.Contains(c.Unlike, x) }) {
		a.kick(partDNS) // the next endpoint with that address may be another kind of client
	}
	if given.Fixed {
		retire()
	}
	return errors.Join(gone, <-retired)
}

// checkNetNS refuses a namespace that is not there or is the host's own, before an address is used up for it.
func (a *Agent) checkNetNS(path string) error {
	ns, err := netns.Open(path)
	if err != nil {
		return cni.Errorf(cni.CodeInvalidNetNS, "network namespace %s: %w", path, err)
	}
	defer ns.Close()
	id, err := ns.ID()
	if err != nil {
		return cni.Errorf(cni.CodeInvalidNetNS, "network namespace %s: %w", path, err)
	}
	if id == a.ownNS {
		return cni.Errorf(cni.CodeInvalidNetNS, "network namespace %s is that of the host itself; an endpoint needs one of its own", path)
	}
	return nil
}

func (a *Agent) attachment(e desired.Endpoint) cni.Attachment {
	l := desired.LinkFor(e, a.sections.Snapshot().Sizes())
	return cni.Attachment{
		HostName: l.Name, HostMAC: l.HostMAC, Name: e.Key.Interface, MAC: l.MAC, NetNS: e.NetNS,
		Addrs: e.Addrs, Gateway: desired.Gateway(), MTU: l.MTU,
	}
}

func ownerOf(r cni.Request) allocation.Owner {
	return allocation.Owner{Key: r.Key, Network: r.Network, Namespace: r.Namespace, Name: r.Name, UID: r.UID, NetNS: r.NetNS}
}

func endpointOf(given allocation.Allocation) desired.Endpoint {
	o := given.Owner
	return desired.Endpoint{
		Key: o.Key, NetNS: o.NetNS, Network: o.Network, Addrs: []netip.Addr{given.Addr}, Identity: uint32(given.Identity),
		Namespace: o.Namespace, Name: o.Name, UID: o.UID,
	}
}
