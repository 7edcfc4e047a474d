package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	edgeobjects "hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
)

// sliceBook knows the AddressSlices of every host, and which revision comes next.
type sliceBook struct {
	// writing is held from the choice of a revision until it is written: whoever has a revision has all before it.
	writing sync.Mutex

	mu       sync.Mutex // guards all following fields
	byHost   map[string]map[string]*v1alpha1.AddressSlice
	revision int64     // the highest of all objects
	raised   time.Time // when revision was
	seen     int64     // the highest that an agent has
}

func newSliceBook() *sliceBook {
	return &sliceBook{byHost: map[string]map[string]*v1alpha1.AddressSlice{}}
}

// restart makes the book of all objects and reports: a store that was put back has forgotten revisions that agents have.
func (b *sliceBook) restart(all func() []*v1alpha1.AddressSlice, reports func() []*v1alpha1.HostStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.byHost)
	for _, s := range all() {
		b.put(s)
	}
	for _, r := range reports() {
		b.hear(r)
	}
}

// report is called for each change of a HostStatus.
func (b *sliceBook) report(r *v1alpha1.HostStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hear(r)
}

// maxRevision is higher than any that was ever written: who says that he has more is wrong.
const maxRevision = 1 << 62

func (b *sliceBook) hear(r *v1alpha1.HostStatus) {
	if n := r.Status.Entries; n < maxRevision {
		b.seen = max(b.seen, n)
	}
}

// put keeps an object. The caller holds mu.
func (b *sliceBook) put(s *v1alpha1.AddressSlice) {
	if b.byHost[s.Spec.Host] == nil {
		b.byHost[s.Spec.Host] = map[string]*v1alpha1.AddressSlice{}
	}
	b.byHost[s.Spec.Host][s.ObjectName()] = s
	if s.Spec.Revision > b.revision {
		b.revision, b.raised = s.Spec.Revision, time.Now()
	}
}

// slice is called for each change of an object that the watch tells of, and with each that was written.
func (b *sliceBook) slice(s *v1alpha1.AddressSlice, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gone {
		delete(b.byHost[s.Spec.Host], s.ObjectName())
		return
	}
	if have, ok := b.byHost[s.Spec.Host][s.ObjectName()]; !ok || have.Spec.Revision <= s.Spec.Revision {
		b.put(s)
	}
}

// of lists the slices of a host by name.
func (b *sliceBook) of(host string) (out []*v1alpha1.AddressSlice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(b.byHost[host])) {
		out = append(out, b.byHost[host][name])
	}
	return out
}

// next is the revision of the next write.
func (b *sliceBook) next() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.revision, b.seen) + 1
}

// newest is the revision of the last write, and the time of it.
func (b *sliceBook) newest() (int64, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision, b.raised
}

// sliceName is the name of a slice of a host.
func sliceName(host string, n int) string { return fmt.Sprintf("%s.%d", host, n) }

// pack returns the slices of a host that have to be written, and those that have nothing left. What stays where it was is not
// written again; new addresses go where there is room.
func pack(host string, have []*v1alpha1.AddressSlice, want map[netip.Addr]identity.Number) (write []*v1alpha1.AddressSlice, empty []*v1alpha1.AddressSlice) {
	left := maps.Clone(want)
	content := map[string]map[netip.Addr]identity.Number{}
	changed := map[string]bool{}
	for _, s := range have {
		kept := map[netip.Addr]identity.Number{}
		for _, e := range s.Spec.Entries {
			for _, a := range e.Addresses {
				n, wanted := left[a.Addr]
				if !wanted || len(kept) == v1alpha1.MaxSliceAddresses {
					changed[s.ObjectName()] = true
					continue
				}
				changed[s.ObjectName()] = changed[s.ObjectName()] || uint32(n) != e.Identity
				kept[a.Addr] = n
				delete(left, a.Addr)
			}
		}
		content[s.ObjectName()] = kept
	}
	for _, a := range slices.SortedFunc(maps.Keys(left), netip.Addr.Compare) {
		for n := 0; ; n++ {
			name := sliceName(host, n)
			if content[name] == nil {
				content[name] = map[netip.Addr]identity.Number{}
			}
			if len(content[name]) < v1alpha1.MaxSliceAddresses {
				content[name][a], changed[name] = left[a], true
				break
			}
		}
	}
	byName := map[string]*v1alpha1.AddressSlice{}
	for _, s := range have {
		byName[s.ObjectName()] = s
		if len(content[s.ObjectName()]) == 0 {
			empty = append(empty, s)
			delete(changed, s.ObjectName())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if !changed[name] {
			continue
		}
		s := v1alpha1.NewAddressSlice(name, v1alpha1.AddressSliceSpec{Host: host, Entries: edgeobjects.EntriesOf(content[name])})
		if was, there := byName[name]; there {
			s.Metadata = was.Metadata
		}
		write = append(write, s)
	}
	return write, empty
}

// ensureSlices makes the slices of a host what its agent reports. Without a report nothing is taken away, unless the host is gone:
// half a list is no list.
func (t *term) ensureSlices(ctx context.Context, host string) error {
	report, reported := t.c.statuses.get(host)
	_, living := t.c.hosts.get(host)
	if living && !reported {
		return nil
	}
	want := map[netip.Addr]identity.Number{}
	if living {
		want = t.believable(host, report.Status.Exact)
	}
	if w, e := pack(host, t.c.slices.of(host), want); len(w)+len(e) == 0 {
		return nil
	}
	t.c.slices.writing.Lock()
	defer t.c.slices.writing.Unlock()
	write, empty := pack(host, t.c.slices.of(host), want)
	all := objects.In(t.c.o.Client, objects.AddressSlices())
	for _, s := range write {
		s.Spec.Revision = t.c.slices.next()
		var err error
		if s.Metadata.UID == "" {
			s, err = all.Create(ctx, s)
		} else {
			s, err = all.Update(ctx, s)
		}
		if err != nil {
			return err
		}
		t.c.slices.slice(s, false)
		t.c.slicesFeed.store.Wrote(s)
	}
	var errs []error
	for _, s := range empty {
		err := gone(all.Delete(ctx, s.ObjectName(), objects.Only{UID: s.Metadata.UID, ResourceVersion: s.Metadata.ResourceVersion}))
		if err == nil {
			t.c.slices.slice(s, true)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// believable is what a host may say: who has the addresses of its own prefixes, and who has those that were claimed for pods, as far as the
// pods have these labels. A host that says more is not believed: root on it has its own prefixes and no others.
func (t *term) believable(host string, said []v1alpha1.AddressEntry) map[netip.Addr]identity.Number {
	var own []netip.Prefix
	for _, p := range t.c.ledger.livingOf(host) {
		own = append(own, p.Spec.Prefix.Prefix)
	}
	out := map[netip.Addr]identity.Number{}
	refused := 0
	for _, e := range said {
		for _, a := range e.Addresses {
			n := identity.Number(e.Identity)
			inOwn := slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(a.Addr) })
			if n < identity.FirstWorkload || !inOwn && !t.claimedFor(a.Addr, n) {
				refused++
				continue
			}
			out[a.Addr] = n
		}
	}
	if refused > 0 {
		t.c.events.warn(context.Background(), aboutNode(host), NotItsAddress, fmt.Sprintf("the agent says who has %d addresses that are not in the host's prefixes and not claimed for such pods: nobody believes that", refused))
	}
	return out
}

// claimedFor reports whether an Address claims an address for a pod that has the number.
func (t *term) claimedFor(a netip.Addr, n identity.Number) bool {
	o, ok := t.c.addresses.get(v1alpha1.AddressName(a))
	if !ok {
		return false
	}
	set, ok := t.c.pods.setOf(podOf(o))
	return ok && t.c.numbers.has(t.c.numbers.rules(set), n)
}

// behindAfter is how long a host may take before it is named.
const behindAfter = 15 * time.Second // reports come every 10 s at the latest

// maxBehind is how many hosts the plan's status names.
const maxBehind = 20

// behind lists hosts that do not have the newest slices in force although there was time, and counts them all.
func (t *term) behind(now time.Time) (names []string, count int) {
	newest, raised := t.c.slices.newest()
	if now.Sub(raised) < behindAfter {
		return nil, 0
	}
	for k := range t.c.hosts.store.All() {
		if r, ok := t.c.statuses.store.Get(k); !ok || r.Status.Entries < newest {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	count = len(names)
	return names[:min(len(names), maxBehind)], count
}
