package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
	"hexapod.dev/model/ipam"
)

// folderState is what is known of the configuration folder.
type folderState struct {
	mu     sync.Mutex // guards all following fields; a reload holds it from begin to end
	refuse error      // why the folder is not what runs; nil when it is
	loaded time.Time
}

// loadFirst reads the folder at the start, when nothing runs yet that could go on.
func (a *Agent) loadFirst() error {
	set, err := file.Load(a.options.ConfigDir)
	if err == nil {
		err = a.apply(set)
	}
	a.metrics.loaded(err)
	return err
}

// watchFolder follows the folder and the reload signal until ctx ends.
func (a *Agent) watchFolder(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return file.Watch(ctx, a.options.ConfigDir, a.reloaded) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-a.options.Reload:
				a.reloaded(file.Load(a.options.ConfigDir))
			}
		}
	})
	return g.Wait()
}

// reloaded takes what the folder says now. A folder that is wrong is refused as a whole and the running configuration stays.
func (a *Agent) reloaded(set file.Set, err error) {
	a.folder.mu.Lock()
	defer a.folder.mu.Unlock()
	if err == nil {
		err = a.apply(set)
	}
	a.metrics.loaded(err)
	before := a.folder.refuse
	a.folder.refuse = err
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		a.log.Error("configuration refused, the running one stays", "folder", a.options.ConfigDir, "error", err)
	case err == nil:
		a.folder.loaded = time.Now()
		a.log.Info("configuration taken", "folder", a.options.ConfigDir)
	}
	if err == nil {
		a.kick(parts...)
		a.kick(partAnswers, partBGP)
	}
}

// apply makes set the running configuration if nothing that lives would be renumbered by it, and nobody took a number that rests.
// A clock that nothing speaks for only warns of the latter: after a boot with a wrong clock the same folder must do.
func (a *Agent) apply(set file.Set) error {
	next, err := newConfiguration(set, a.options.Host)
	if err != nil {
		return err
	}
	running := a.config.Load()
	if running != nil {
		if err := file.Renumbered(&running.set, set, nil); err != nil {
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
	a.sections.SetConfig(next.desired)
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
				file.Renumbered(nil, a.config.Load().set, living))
		}
	}
	return nil
}

func (a *Agent) reportFolder() local.Object {
	o := local.Object{Kind: "config", Name: a.options.ConfigDir, State: local.Done}
	a.folder.mu.Lock()
	defer a.folder.mu.Unlock()
	if a.folder.refuse != nil {
		o.State, o.Why = local.Failed, "refused, the one from "+a.folder.loaded.UTC().Format(time.RFC3339)+" goes on: "+oneLine(a.folder.refuse)
	} else {
		o.Detail = "loaded " + a.folder.loaded.UTC().Format(time.RFC3339)
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
	if a.Kind() != ipam.Sealed {
		return true
	}
	probe := ipam.Fields{Identity: 0x100, Born: 1, Sequence: 1}
	x, errX := a.Encode(probe)
	y, errY := b.Encode(probe)
	return errX == nil && errY == nil && x == y
}
