package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/numbers"
)

// numberBook knows which identity number stands for which set, and which numbers hosts say their endpoints carry.
type numberBook struct {
	mu      sync.Mutex
	narrow  *numbers.Book            // of the numbers that addresses have room for
	wide    *numbers.Book            // of those that are given when they are used up
	beyond  map[identity.Number]bool // of the wide ones, those of living sets
	objects map[identity.Number]*v1alpha1.Identity
	byKey   map[string]map[identity.Number]bool
	keys    map[identity.Number]string
	carried map[string][]uint32 // by host
	rules   func(identity.Set) string
	highest identity.Number
	pending map[string]identity.Number // by key
	full    string                     // why a set got no number last; empty: sets get theirs
	wasFull bool                       // in this process
}

func newNumberBook() *numberBook {
	rules, err := identity.NewRules(identity.KeyVersion)
	b := &numberBook{pending: map[string]identity.Number{}, carried: map[string][]uint32{},
		// Labels that do not count are not written into an Identity, so the key of what is written is its key under any rules.
		rules: func(s identity.Set) string { return string(rules.Key(s)) }}
	if err != nil {
		panic(err) // the newest version is known
	}
	b.clear()
	return b
}

func (b *numberBook) clear() {
	b.narrow = numbers.New(uint64(identity.FirstWorkload), uint64(identity.LastWorkload), nil)
	b.wide, b.beyond = numbers.New(uint64(identity.FirstWide), uint64(identity.LastWide), nil), map[identity.Number]bool{}
	b.objects, b.byKey, b.keys = map[identity.Number]*v1alpha1.Identity{}, map[string]map[identity.Number]bool{}, map[identity.Number]string{}
}

// restart makes the book of all objects and reports; see ledger.restart.
func (b *numberBook) restart(all func() []*v1alpha1.Identity, reports func() []*v1alpha1.HostStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mark()
	b.clear()
	b.seen(b.highest)
	for _, n := range b.pending {
		b.living(n)
	}
	for _, i := range all() {
		b.put(i)
	}
	clear(b.carried)
	for _, r := range reports() {
		b.hear(r)
	}
}

// mark keeps the highest number ever seen in this process.
func (b *numberBook) mark() {
	for _, book := range []*numbers.Book{b.narrow, b.wide} {
		if n, any := book.Highest(); any {
			b.highest = max(b.highest, identity.Number(n))
		}
	}
}

// bookOf returns the book that a number is in.
func (b *numberBook) bookOf(n identity.Number) *numbers.Book {
	if n.Wide() {
		return b.wide
	}
	return b.narrow
}

// seen raises the marks: where a wide number was given, all others were before it.
func (b *numberBook) seen(n identity.Number) {
	b.bookOf(n).Seen(uint64(n))
	if n.Wide() {
		b.narrow.Seen(uint64(identity.LastWorkload))
	}
}

// living says that a number has an owner.
func (b *numberBook) living(n identity.Number) {
	b.seen(n)
	b.bookOf(n).Living(uint64(n))
}

// identity is called for each change of an object that the watch tells of.
func (b *numberBook) identity(i *v1alpha1.Identity, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gone {
		b.remove(i)
		return
	}
	b.put(i)
	if key := b.keys[identity.Number(i.Spec.Number)]; b.pending[key] == identity.Number(i.Spec.Number) {
		delete(b.pending, key)
	}
}

// wrote is called with an object that was just written.
func (b *numberBook) wrote(i *v1alpha1.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(i)
}

func (b *numberBook) put(i *v1alpha1.Identity) {
	n := identity.Number(i.Spec.Number)
	key := b.rules(identity.Set{Namespace: i.Spec.Namespace, Labels: i.Spec.Labels})
	b.objects[n], b.keys[n] = i, key
	if b.byKey[key] == nil {
		b.byKey[key] = map[identity.Number]bool{}
	}
	b.byKey[key][n] = true
	b.living(n)
	if delete(b.beyond, n); n.Wide() && i.Living() {
		b.beyond[n] = true
	}
}

func (b *numberBook) remove(i *v1alpha1.Identity) {
	n := identity.Number(i.Spec.Number)
	delete(b.objects, n)
	delete(b.beyond, n)
	delete(b.byKey[b.keys[n]], n)
	delete(b.keys, n)
	if !b.isCarried(n) {
		b.bookOf(n).Returned(uint64(n))
	}
}

// report is called for each change of a HostStatus.
func (b *numberBook) report(r *v1alpha1.HostStatus, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gone {
		delete(b.carried, r.ObjectName())
		return
	}
	b.hear(r)
}

func (b *numberBook) hear(r *v1alpha1.HostStatus) {
	b.carried[r.ObjectName()] = r.Status.Identities
	for _, n := range r.Status.Identities {
		b.living(identity.Number(n))
	}
	b.seen(identity.Number(r.Status.Seen.Identity))
}

func (b *numberBook) isCarried(n identity.Number) bool {
	for _, all := range b.carried {
		for _, m := range all {
			if identity.Number(m) == n {
				return true
			}
		}
	}
	return false
}

// of returns the object of a set's number: the lowest that is in use, else the lowest that is retired, else nil.
func (b *numberBook) of(key string) *v1alpha1.Identity {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *v1alpha1.Identity
	for n := range b.byKey[key] {
		i := b.objects[n]
		if best == nil || i.Living() && !best.Living() || i.Living() == best.Living() && i.Spec.Number < best.Spec.Number {
			best = i
		}
	}
	return best
}

// has reports whether a number stands for a set.
func (b *numberBook) has(key string, n identity.Number) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byKey[key][n]
}

// decide reserves a number for a set: one that addresses have room for, as long as there are any. A set keeps what it got until no pod
// has it any more.
func (b *numberBook) decide(key string, now time.Time, whole bool) (identity.Number, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, ok := b.pending[key]; ok {
		return n, nil
	}
	at := ipam.FromUnix(now.Unix())
	n, _, err := b.narrow.Next(at, 0, whole)
	if err != nil {
		n, _, err = b.wide.Next(at, 0, whole)
	}
	if err != nil {
		b.full, b.wasFull = fmt.Sprintf("identities: %v: fewer different sets of labels need fewer numbers; write labels that do not matter into spec.identity.excludeLabels", err), true
		return 0, &Problem{NumbersFull, b.full, err}
	}
	b.full = ""
	b.living(identity.Number(n))
	b.pending[key] = identity.Number(n)
	return identity.Number(n), nil
}

// countWide counts the sets of labels whose number does not fit into addresses.
func (b *numberBook) countWide() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.beyond)
}

// condition tells in the status of the plan that addresses have room for the number of every set of labels, or what of that is not so.
// Where it always was, there is none.
func (b *numberBook) condition(generation int64) (c v1alpha1.Condition, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c = v1alpha1.Condition{Type: v1alpha1.ConditionNumbers, Status: v1alpha1.ConditionTrue, Reason: string(Accepted), Message: "every set of labels gets a number that fits into addresses",
		LastTransitionTime: v1alpha1.TimeFrom(time.Now()), ObservedGeneration: generation}
	switch wide := len(b.beyond); {
	case b.full != "":
		c.Status, c.Reason, c.Message = v1alpha1.ConditionFalse, string(NumbersFull), b.full+"; until then pods with new labels are known to other hosts by no labels (spec.unknownIdentity)"
	case wide > 0:
		b.wasFull = true
		c.Status, c.Reason = v1alpha1.ConditionFalse, string(NumbersFull)
		c.Message = fmt.Sprintf("sets of labels that came when all %d numbers that fit into addresses were used: %d. They have numbers above %d, policies hold for them on all hosts, "+
			"and each of their pods is an exact entry in AddressSlices; fewer different sets of labels need fewer numbers: write labels that do not matter into spec.identity.excludeLabels",
			identity.LastWorkload-identity.FirstWorkload+1, wide, uint32(identity.LastWorkload))
	}
	return c, b.wasFull
}

func (b *numberBook) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, key)
}

// all lists the objects.
func (b *numberBook) all() (out []*v1alpha1.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.objects {
		out = append(out, i)
	}
	return out
}

// state returns the key of a number and whether a host says that it is carried.
func (b *numberBook) state(n identity.Number) (key string, carried bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys[n], b.isCarried(n)
}

// ensureIdentity gives a set of labels a number, if pods have it.
func (t *term) ensureIdentity(ctx context.Context, key string) error {
	set, ports, ok := t.c.pods.set(key)
	if !ok {
		return nil
	}
	all := objects.In(t.c.o.Client, objects.Identities())
	written := t.c.numbers.rules(set)
	if i := t.c.numbers.of(written); i != nil {
		if i.Living() && slices.Equal(i.Spec.Ports, ports) {
			return nil
		}
		// A set that comes back while its number rests has it again.
		spec := map[string]any{"retired": nil, "ports": ports}
		got, err := all.Patch(ctx, i.ObjectName(), "", map[string]any{"metadata": map[string]any{"uid": i.Metadata.UID}, "spec": spec})
		if err == nil {
			t.c.numbers.wrote(got)
		}
		return err
	}
	whole, err := t.whole()
	if err != nil {
		return err
	}
	for {
		n, err := t.c.numbers.decide(written, time.Now(), whole)
		if _, told := t.c.numbers.condition(0); told {
			t.queue.add(task{taskCheck, ""})
		}
		if err != nil {
			return err
		}
		o := v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: uint32(n), Namespace: set.Namespace, Labels: set.Labels, Ports: ports, KeyVersion: identity.KeyVersion})
		got, err := all.Create(ctx, o)
		if errors.Is(err, objects.ErrExists) {
			if got, err = all.Get(ctx, o.ObjectName()); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		t.c.numbers.wrote(got)
		if t.c.numbers.rules(identity.Set{Namespace: got.Spec.Namespace, Labels: got.Spec.Labels}) == written {
			return nil
		}
		t.c.numbers.forget(written) // another controller gave the number to another set
	}
}

// returnNumbers takes back what nobody has used for long: first a number that no pod and no host has is retired, then, after its
// quarantine and when every host has reported, its object is removed.
func (t *term) returnNumbers(ctx context.Context, quarantine time.Duration) error {
	all := objects.In(t.c.o.Client, objects.Identities())
	whole, waiting := t.whole()
	if _, told := t.c.numbers.condition(0); told {
		t.queue.add(task{taskCheck, ""})
	}
	var errs []error
	for _, i := range t.c.numbers.all() {
		key, carried := t.c.numbers.state(identity.Number(i.Spec.Number))
		if _, _, wanted := t.c.pods.set(key); wanted || carried {
			continue
		}
		switch {
		case i.Living() && time.Since(i.Metadata.CreationTimestamp.Time) > time.Minute:
			got, err := all.Patch(ctx, i.ObjectName(), "", map[string]any{
				"metadata": map[string]any{"uid": i.Metadata.UID, "resourceVersion": i.Metadata.ResourceVersion},
				"spec":     map[string]any{"retired": v1alpha1.TimeFrom(time.Now())}})
			if err == nil {
				t.c.numbers.wrote(got)
			}
			errs = append(errs, gone(err))
		case !i.Living() && waiting == nil && whole && time.Since(i.Spec.Retired.Time) > quarantine:
			errs = append(errs, gone(all.Delete(ctx, i.ObjectName(), objects.Only{UID: i.Metadata.UID, ResourceVersion: i.Metadata.ResourceVersion})))
		}
	}
	return errors.Join(errs...)
}
