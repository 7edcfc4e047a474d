package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/local"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/hostid"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// openBook opens the book of this host's addresses.
func (a *Agent) openBook() (*allocation.Book, error) {
	dir, err := journal.MakeDir(filepath.Join(a.options.StateDir, "journal"))
	if err != nil {
		return nil, err
	}
	ids, err := readIDs(os.DirFS("/"))
	if err != nil {
		return nil, err
	}
	found, err := a.foundAddrs()
	if err != nil {
		return nil, err
	}
	c := a.config.Load()
	spec := c.set.Objects.Plan.Spec
	layout := c.layout
	if p := a.sections.Snapshot().Delegated.Prefix; p.IsValid() {
		layout, _ = a.fit(p)
	}
	return allocation.Open(allocation.Options{
		Host: a.options.Host, Layout: layout, FS: dir, Clock: allocation.SystemClock{},
		IDs: ids, Facts: a.clockFacts, Found: found, Built: ipam.FromUnix(a.options.Built.Unix()), Seed: rand.Uint64(),
		Event:   func(e allocation.Event) { a.log.Warn("book of addresses", "why", string(e.Why), "detail", e.Detail) },
		MinRest: ipam.Seconds(spec.MinRest.Seconds()), Keep: a.keepJournal,
	})
}

// keepJournal tells what the running configuration says of closed segments. Hosts share one sink, and their segments have the same
// names: each is named by its host as well.
func (a *Agent) keepJournal() allocation.Keep {
	rules := a.config.Load().set.Objects.Plan.Spec.Journal
	keep := allocation.Keep{Retention: ipam.Seconds(rules.Retention.Seconds())}
	switch {
	case rules.Sink.Folder != "":
		keep.Sink = journal.FolderSink(filepath.Join(rules.Sink.Folder, a.options.Host))
	case len(rules.Sink.Command) > 0:
		keep.Sink = journal.CommandSink(append(slices.Clone(rules.Sink.Command), a.options.Host))
	}
	return keep
}

// clockFacts tells what speaks for the host's clock now.
func (a *Agent) clockFacts() allocation.Facts {
	c := a.config.Load()
	facts := allocation.Facts{Synchronised: a.synchronised(), Trusted: c.trusted, Witness: c.witness}
	if a.options.Cluster != nil {
		if t := a.options.Cluster.Witness(); !t.IsZero() {
			facts.Witness = max(facts.Witness, ipam.StampAt(ipam.FromUnix(t.Unix())))
		}
	}
	return facts
}

// synchronised reports whether the kernel says that its clock is right.
func (a *Agent) synchronised() bool {
	clock, err := hostid.ReadClock()
	if err != nil {
		a.log.Warn("the kernel does not say whether its clock is synchronised", "error", err)
	}
	return clock.Synchronised
}

// readIDs tells this machine and this boot from others. root is the file system of the host.
func readIDs(root fs.FS) (ids allocation.IDs, err error) {
	machine, machineErr := hostid.Machine(root)
	boot, bootErr := hostid.Boot(root)
	generation, generationErr := hostid.Generation(root)
	if errors.Is(generationErr, hostid.ErrNotShown) {
		generationErr = nil
	}
	if err := errors.Join(machineErr, bootErr, generationErr); err != nil {
		return ids, err
	}
	for _, id := range []struct {
		to   *[16]byte
		text string
	}{{&ids.Machine, machine}, {&ids.Boot, strings.ReplaceAll(boot, "-", "")}, {&ids.Generation, generation}} {
		if _, err := hex.Decode(id.to[:], []byte(id.text)); err != nil {
			return ids, fmt.Errorf("id of this host %q: %w", id.text, err)
		}
	}
	return ids, nil
}

// foundAddrs lists the addresses of endpoints that the kernel holds: they were given out, whatever the journal says.
func (a *Agent) foundAddrs() ([]netip.Addr, error) {
	routes, err := a.kernel.HeldRoutes()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for dst := range routes {
		if dst.IsSingleIP() && dst.Addr().Is6() {
			found = append(found, dst.Addr())
		}
	}
	return found, nil
}

// refused counts an address that was not given out and tells the runtime whether trying again can help.
func (a *Agent) refused(err error) error {
	why := "other"
	code := cni.CodeFailed
	var clock *ipam.ClockError
	var exhausted *ipam.ExhaustedError
	var full *journal.FullError
	var write *journal.WriteError
	var taken *allocation.TakenError
	var other *allocation.OtherError
	var none *allocation.NoPrefixError
	switch {
	case errors.As(err, &none):
		why, code = string(desired.NoHostPrefix), cni.CodeTryAgain
	case errors.As(err, &clock):
		why, code = string(clock.Why), cni.CodeTryAgain
		err = fmt.Errorf("%w; if the clock is right, run: hexapod ipam accept-clock", err)
	case errors.As(err, &exhausted):
		why, code = "exhausted", cni.CodeTryAgain
	case errors.As(err, &full):
		why, code = "disk full", cni.CodeTryAgain
	case errors.As(err, &write):
		why, code = "disk failed", cni.CodeTryAgain
	case errors.As(err, &taken):
		why = "fixed address taken"
	case errors.As(err, &other):
		why, code = "another address", cni.CodeInvalidConfig
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		why, code = "given up", cni.CodeTryAgain
	}
	a.metrics.refusals.WithLabelValues(why).Inc()
	return cni.Errorf(code, "%w", err)
}

// bookWell tells why no address could be given out now; nil when one could.
func (a *Agent) bookWell() error {
	state := a.book.State()
	switch {
	case state.Refused != "":
		return cni.Errorf(cni.CodeNotAvailable, "%s", state.Refused)
	case !state.Prefix.IsValid():
		return cni.Errorf(cni.CodeNotAvailable, "host %s: %s", a.options.Host, desired.NoHostPrefix)
	}
	if err := a.book.Writable(); err != nil {
		return cni.Errorf(cni.CodeNotAvailable, "%w", err)
	}
	return nil
}

func (a *Agent) reportJournal() local.Object {
	o := local.Object{Kind: "journal", Name: filepath.Join(a.options.StateDir, "journal"), State: local.Done}
	if err := a.book.Writable(); err != nil {
		o.State, o.Why = local.Failed, local.OneLine(err)
	}
	return o
}

func (a *Agent) reportClock() local.Object {
	o := local.Object{Kind: "clock", Name: a.options.Host, State: local.Done}
	if refused := a.book.State().Refused; refused != "" {
		o.State, o.Why = local.Failed, strings.ReplaceAll(refused, "\n", "; ")+"; if the clock is right, run: hexapod ipam accept-clock"
	}
	return o
}

// AcceptClock implements local.Source.
func (a *Agent) AcceptClock(context.Context) error {
	if err := a.book.AcceptClock(); err != nil {
		return err
	}
	a.log.Warn("the host's clock was accepted by its operator")
	return nil
}

// Whereis implements local.Source.
func (a *Agent) Whereis(ctx context.Context, addr netip.Addr, at time.Time) (any, error) {
	if at.IsZero() {
		at = time.Now()
	}
	return a.book.Whereis(ctx, addr, ipam.FromUnix(at.Unix()))
}
