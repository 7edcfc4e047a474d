package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/ipam"
)

// loadState is what is known of the source of the configuration.
type loadState struct {
	round atomic.Int64 // of the controller's newest question what hosts hold, which is answered whatever becomes of a configuration

	mu     sync.Mutex // guards all following fields; a reload holds it from begin to end
	refuse error      // why what the source says is not what runs; nil when it is
	loaded time.Time
}

// loadFirst asks the source at the start, when nothing runs yet that could go on. A folder that is wrong is the end of that start; a
// cluster may come to know of this host later, and until then the agent waits.
func (a *Agent) loadFirst(ctx context.Context) error {
	if a.options.Cluster != nil {
		return errors.Join(a.awaitFirst(ctx), a.awaitPolicies(ctx))
	}
	set, err := a.options.Source.Load(ctx)
	if err == nil {
		err = a.apply(set)
	}
	a.metrics.loaded(err)
	return err
}

// awaitFirst waits for a configuration that this host can begin with.
func (a *Agent) awaitFirst(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	said := ""
	err := a.options.Source.Watch(watching, func(set objects.Set, err error) {
		if watching.Err() != nil {
			return
		}
		if err == nil {
			err = a.apply(set)
			a.asked(set)
		}
		a.metrics.loaded(err)
		switch {
		case err == nil:
			stop()
		case err.Error() != said:
			said = err.Error()
			a.log.Warn("waiting for a configuration to begin with", "source", a.options.Source.Name(), "error", err)
		}
	})
	return errors.Join(err, ctx.Err())
}

// watchSource follows the source and the reload signal until ctx ends.
func (a *Agent) watchSource(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.options.Source.Watch(ctx, a.reloaded) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-a.options.Reload:
				a.reloaded(a.options.Source.Load(ctx))
			}
		}
	})
	return g.Wait()
}

// reloaded takes what the source says now. What is wrong is refused as a whole and the running configuration stays.
func (a *Agent) reloaded(set objects.Set, err error) {
	a.loading.mu.Lock()
	defer a.loading.mu.Unlock()
	was := a.config.Load()
	if err == nil {
		err = a.apply(set)
		a.asked(set)
	}
	a.metrics.loaded(err)
	before := a.loading.refuse
	a.loading.refuse = err
	switch {
	case err == nil && before == nil && was.sameHere(a.config.Load(), a.options.Host):
		a.loading.loaded = time.Now()
		a.toldOfOthers()
		return
	case err != nil && (before == nil || before.Error() != err.Error()):
		a.log.Error("configuration refused, the running one stays", "source", a.options.Source.Name(), "error", err)
	case err == nil:
		a.loading.loaded = time.Now()
		a.log.Info("configuration taken", "source", a.options.Source.Name())
	}
	if err == nil {
		if err := a.second.Use(a.config.Load().desired.Self.IPv4); err != nil {
			a.log.Error("the IPv4 prefix of this host cannot be used", "error", err)
		}
		a.toldOf()
		a.reportSoon()
		a.kick(parts...)
		a.kick(partAnswers, partBGP, partServices, partPolicy, partDNS, partNAT64)
	}
}

// asked takes up the controller's question from a configuration, after what else it says was taken or refused. A host that has to refuse it,
// because a store that was put back does not know it any more or gives it another prefix, has all the more to say what it holds.
func (a *Agent) asked(set objects.Set) {
	if p := set.Objects.Plan; p != nil && a.loading.round.Swap(p.Status.Round) != p.Status.Round {
		a.reportSoon()
	}
}

// apply makes set the running configuration if nothing that lives would be renumbered by it, and nobody took a number that rests.
// A clock that nothing speaks for only warns of the latter: after a boot with a wrong clock the same folder must do.
func (a *Agent) apply(set objects.Set) error {
	want, err := upstreamWanted(set.Objects, a.options.Host)
	if err != nil {
		return err
	}
	running := a.config.Load()
	if running == nil { // what an earlier agent found counts from the first configuration on
		a.upstream.Set(want)
	}
	next, err := a.newConfiguration(set)
	if err != nil {
		return err
	}
	if running != nil {
		if err := set.Keeps(&running.set, nil); err != nil && a.options.Cluster == nil { // there, the controller sees to the others
			return err
		}
		if !sameLayout(next.layout, running.layout) {
			return fmt.Errorf("host %s: the form of addresses changes (prefix, hostPart or its key); that takes a new host: retire this one", a.options.Host)
		}
	}
	if running != nil && !sameSource(next.source, running.source) {
		return fmt.Errorf("host %s: the source of its prefix changes (prefixSource, prefixLength): restart the agent for that", a.options.Host)
	}
	resting := set.Resting(time.Now())
	if errs := resting.Errors(); len(errs) > 0 && (next.trusted || a.synchronised()) {
		return errs
	}
	for _, w := range append(slices.Clone(set.Warnings), resting...) {
		a.log.Warn("configuration", "warning", w)
	}
	a.config.Store(next)
	a.upstream.Set(want)
	a.raiseSeen(next)
	a.sections.SetConfig(next.desired)
	a.sections.SetServices(next.services)
	a.setPolicies()
	if a.options.Cluster == nil {
		a.sections.SetPlace(next.place)
	}
	return nil
}

// checkLiving refuses at the start a configuration by which the endpoints that live in the journal would lose their prefix.
func (a *Agent) checkLiving() error {
	prefix := a.config.Load().desired.Self.Prefix
	if !prefix.IsValid() { // delegated: endpoints may live in prefixes that were
		return nil
	}
	for _, given := range a.book.Living() {
		if !given.Fixed && !prefix.Contains(given.Addr) {
			living := map[string]netip.Prefix{a.options.Host: netip.PrefixFrom(given.Addr, prefix.Bits()).Masked()}
			return errors.Join(
				fmt.Errorf("endpoint %s lives with %s, outside the prefix %s that the configuration gives host %s now; undo the change, or delete the endpoint first",
					given.Key, given.Addr, prefix, a.options.Host),
				a.config.Load().set.Keeps(nil, living))
		}
	}
	return nil
}

func (a *Agent) reportSource() local.Object {
	o := local.Object{Kind: "config", Name: a.options.Source.Name(), State: local.Done}
	a.loading.mu.Lock()
	defer a.loading.mu.Unlock()
	if a.loading.refuse != nil {
		o.State, o.Why = local.Failed, "refused, the one from "+a.loading.loaded.UTC().Format(time.RFC3339)+" goes on: "+local.OneLine(a.loading.refuse)
	} else {
		o.Detail = "loaded " + a.loading.loaded.UTC().Format(time.RFC3339)
	}
	return o
}

// sameSource reports whether the prefix comes from the same place.
func sameSource(a, b *v1alpha1.Uplink) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && a.PrefixSource == b.PrefixSource && a.PrefixLength == b.PrefixLength
}

// sameLayout reports whether two layouts write every address alike. Keys of seals show only in what they write.
func sameLayout(a, b ipam.Layout) bool {
	if a.Prefix() != b.Prefix() || a.Kind() != b.Kind() {
		return false
	}
	if a.Kind() != ipam.Sealed { // an on-link one goes by the host's name, which stays
		return true
	}
	probe := ipam.Fields{Identity: 0x100, Born: 1, Sequence: 1}
	x, errX := a.Encode(probe)
	y, errY := b.Encode(probe)
	return errX == nil && errY == nil && x == y
}
