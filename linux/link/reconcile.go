package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// Observed is one link of an endpoint as the kernel shows it.
type Observed struct {
	Name    string
	Index   int
	Key     desired.EndpointKey // zero when the link was made by an agent that ended before it could name it
	HostMAC desired.MAC
	MTU     int
	Up      bool
	Retired bool // waits for Reap
}

// Observe lists the links of endpoints by name: all with our marks, and nothing else.
func (t *Table) Observe(ctx context.Context) ([]Observed, error) {
	links, err := t.marked(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Observed, 0, len(links))
	for _, l := range slices.SortedFunc(maps.Values(links), func(a, b rtnl.Link) int { return cmp.Compare(a.Name, b.Name) }) {
		key, _ := desired.KeyOfAlias(l.Alias)
		list = append(list, Observed{
			Name: l.Name, Index: l.Index, Key: key, HostMAC: l.MAC, MTU: l.MTU, Up: l.Up, Retired: l.Group == Retired,
		})
	}
	return list, nil
}

// marked lists our links by name.
func (t *Table) marked(ctx context.Context) (map[string]rtnl.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := t.conn.Links()
	if err != nil {
		return nil, err
	}
	links := make(map[string]rtnl.Link)
	for _, l := range all {
		if l.OfEndpoint() {
			links[l.Name] = l
		}
	}
	return links, nil
}

// Check tells what of a link is not as wanted; nil when everything is. It changes nothing.
func (t *Table) Check(ctx context.Context, want desired.Link) error {
	if err := errors.Join(valid(want), ctx.Err()); err != nil {
		return err
	}
	host, ok, err := t.conn.Link(want.Name)
	switch {
	case err != nil:
		return fmt.Errorf("endpoint %s: %w", want.Key, err)
	case !ok:
		return fmt.Errorf("endpoint %s: link %s does not exist", want.Key, want.Name)
	case !host.OfEndpoint():
		return fmt.Errorf("endpoint %s: %w", want.Key, foreign(host))
	}
	faults, err := t.faults(want, host)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("link %s is not complete, it lacks: %s", want.Name, strings.Join(faults, "; "))
	}
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", want.Key, err)
	}
	return nil
}

// faults lists, in words, what Ensure would do to a link that exists.
func (t *Table) faults(want desired.Link, host rtnl.Link) ([]string, error) {
	ns, err := netns.Open(want.NetNS)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	var nsid int
	if err := t.conn.Do(rtnl.PeerNSID(ns.FD(), &nsid)); err != nil {
		return nil, err
	}
	if host.PeerNSID == rtnl.NoNSID || nsid != host.PeerNSID {
		return []string{"a peer inside " + want.NetNS}, nil
	}
	in, err := rtnl.Dial(ns)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	seen, err := look(in, host, want)
	if err != nil {
		return nil, err
	}
	addrs, err := t.conn.Addrs(host.Index)
	if err != nil {
		return nil, err
	}
	var faults []string
	if seen.link.Name != want.Key.Interface {
		faults = append(faults, fmt.Sprintf("the name %s inside, it is called %s", want.Key.Interface, seen.link.Name))
	}
	if hears(host) {
		faults = append(faults, "accept_ra=0 on the host side")
	}
	for _, r := range append(hostSteps(want, host, addrs, t.incomplete.has(host.Index), t.bare), insideSteps(want, seen)...) {
		faults = append(faults, r.String())
	}
	bounds, err := t.shapeFaults(in, host, want)
	return append(faults, bounds...), err
}

// Reconcile makes the links of all endpoints as wanted and removes every other link that carries our mark. It returns by
// name what it did. One endpoint's failure does not keep it from the others; all errors are joined.
func (t *Table) Reconcile(ctx context.Context, want []desired.Link) (diff.Delta[string], error) {
	have, err := t.marked(ctx)
	if err != nil {
		return diff.Delta[string]{}, err
	}
	var errs []error
	wanted := make(map[string]desired.Link, len(want))
	for _, l := range want {
		if other, twice := wanted[l.Name]; twice && other.Key != l.Key {
			errs = append(errs, fmt.Errorf("link %s is wanted by two endpoints, %s and %s", l.Name, other.Key, l.Key))
			continue
		}
		wanted[l.Name] = l
	}
	delta := diff.For(wanted, have, func(w desired.Link, h rtnl.Link) bool {
		faults, err := t.faults(w, h)
		return err == nil && len(faults) == 0
	})
	delta.Remove = slices.DeleteFunc(delta.Remove, func(name string) bool { return have[name].Group == Retired })
	var done diff.Delta[string]
	ensure := func(names []string, into *[]string) {
		for _, name := range names {
			err := t.Ensure(ctx, wanted[name])
			if err == nil {
				*into = append(*into, name)
			}
			errs = append(errs, err)
		}
	}
	// Removal first: a namespace may hold an interface of the wanted name that belongs to a link nobody wants.
	if err := t.remove(delta.Remove, have); err != nil {
		errs = append(errs, err)
	} else {
		done.Remove = delta.Remove
	}
	ensure(delta.Add, &done.Add)
	ensure(delta.Change, &done.Change)
	return done, errors.Join(errs...)
}

// remove retires links and reaps them at once, with those that waited already.
func (t *Table) remove(names []string, have map[string]rtnl.Link) error {
	steps := make([]*rtnl.Request, 0, len(names))
	for _, name := range names {
		steps = append(steps, retire(have[name]))
	}
	return errors.Join(t.do(t.conn, steps...), t.do(t.reap, rtnl.DeleteGroup(Retired)))
}

func retire(l rtnl.Link) *rtnl.Request {
	r := rtnl.SetLink(l.Index, l.Name, "retire, by its group,").Fine(unix.ENODEV)
	r.Uint32(unix.IFLA_GROUP, Retired)
	return r
}

// Retire takes an endpoint's link out of service, in two sends: what the caller gives first (the removal of the
// endpoint's host routes), then the mark for Reap. A missing link is no error, and what was given is sent all the same.
func (t *Table) Retire(ctx context.Context, key desired.EndpointKey, first ...*rtnl.Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	host, ok, err := t.conn.Link(desired.LinkName(key))
	switch {
	case err != nil:
	case ok && !host.OfEndpoint():
		err = errors.Join(foreign(host), t.do(t.conn, first...))
	case ok:
		err = t.do(t.conn, append(first, retire(host))...)
	default:
		err = t.do(t.conn, first...)
	}
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", key, err)
	}
	return nil
}

// Reap removes all retired links in one message. It waits for the kernel, tens of milliseconds however many there are.
func (t *Table) Reap(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.do(t.reap, rtnl.DeleteGroup(Retired))
}
