package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/delegation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/resolver"
	"hexapod.dev/agent/services"
	"hexapod.dev/agent/translator"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/route"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
	"hexapod.dev/model/ipam"
)

// Cleanup removes from the kernel everything that carries Hexapod's marks, whoever of its agents made it, and returns in words what
// it removed. With living endpoints it refuses, unless forced: then they are retired in the journal as well. The journal itself
// stays, or addresses could be given out again. No agent may run meanwhile.
func Cleanup(ctx context.Context, o Options, force bool) (report string, err error) {
	var closing closers
	defer func() { err = errors.Join(err, closing.Close()) }()
	lock, err := takeRunFolder(ctx, o.RunDir)
	if err != nil {
		return "", fmt.Errorf("clean up: %w", err)
	}
	closing.add(lock)
	k, err := openKernel(o.NS)
	if err != nil {
		return "", err
	}
	closing.add(k)
	living, err := k.links.Observe(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, l := range living {
		if !l.Retired {
			names = append(names, l.Key.String())
		}
	}
	if len(names) > 0 && !force {
		return "", fmt.Errorf("clean up: %d endpoints are living (%s): delete them first, or cut them off with --force", len(names), shortList(names))
	}
	fib, err := route.OpenFIB(o.NS, route.Protocol)
	if err != nil {
		return "", err
	}
	closing.add(fib)
	report, err = k.removeAll(ctx, fib)
	restored, settingsErr := settingsFile(o).Restore(sysctl.Open(o.NS))
	report += fmt.Sprintf("settings put back: %d\n", len(restored))
	server := resolver.Spec(o.RunDir).End()
	led := services.Remove(servicesOptions(o))
	hung, off := datapath.Remove(ctx, datapath.Options{NS: o.NS, Root: o.BPF, Run: o.RunDir})
	report += fmt.Sprintf("programs taken off links: %d\n", hung)
	translation := translator.Remove(ctx, translatorOptions(o))
	pins := removePins(o)
	err = errors.Join(err, settingsErr, server, translation, led, off, pins)
	// Without a sign of life STATUS says at once that no endpoint can be added here.
	forget := (&cni.Server{RunDir: o.RunDir}).Forget()
	err = errors.Join(err, forget, retireAll(ctx, o, "journal"), retireAll(ctx, o, secondDir))
	given, releaseErr := delegation.Release(ctx, delegation.Options{StateDir: o.StateDir, NS: o.NS})
	return report + given, errors.Join(err, releaseErr)
}

// removePins takes away the folder of what was pinned, when nothing hangs on links and cgroups any more.
func removePins(o Options) error {
	folder, err := pin.Find(cmp.Or(o.BPF, pin.DefaultRoot), o.RunDir)
	if err != nil || folder == nil {
		return err
	}
	return folder.Remove()
}

// settingsFile is where the agent keeps what the settings of its host were.
func settingsFile(o Options) sysctl.Originals {
	return sysctl.Originals(filepath.Join(o.StateDir, "settings.json"))
}

// removeAll makes every table hold nothing of ours and says what went.
func (k *kernel) removeAll(ctx context.Context, fib *route.FIB) (string, error) {
	var nothing desired.State
	var b strings.Builder
	var errs []error
	for _, t := range []struct {
		what  string
		empty func(context.Context, desired.State) (diff.Delta[string], error)
	}{{"routes", k.Routes}, {"learned routes", func(ctx context.Context, _ desired.State) (diff.Delta[string], error) {
		return fib.Reconcile(ctx, nil) // with their nexthop objects
	}}, {"neighbours", k.Neighbours}, {"links", k.Links}, {"addresses", k.Addresses}} {
		delta, err := t.empty(ctx, nothing)
		fmt.Fprintf(&b, "%s removed: %d\n", t.what, len(delta.Remove))
		errs = append(errs, err)
	}
	return b.String(), errors.Join(errs...)
}

// retireAll ends the lives that the journal still knows, so that the next agent does not bring them back.
func retireAll(ctx context.Context, o Options, dir string) error {
	path := filepath.Join(o.StateDir, dir)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	book, err := allocation.Open(allocation.Options{Host: o.Host, FS: journal.Dir(path), Clock: allocation.SystemClock{}, Layout: ipam.Layout{}})
	if err != nil {
		return err
	}
	var errs []error
	for _, given := range book.Living() {
		errs = append(errs, book.Retire(ctx, given.Key))
	}
	return errors.Join(append(errs, book.Close())...)
}

// shortList names a few of many.
func shortList(names []string) string {
	const few = 5
	if len(names) > few {
		return strings.Join(names[:few], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}
