package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/numbers"
	"hexapod.dev/model/prefix"
)

// claimBook knows which fixed address belongs to which pod. A pod keeps its address by its name, also when it comes back later.
type claimBook struct {
	mu      sync.Mutex
	pools   map[string]*v1alpha1.Pool
	books   map[string]*numbers.Book // by pool
	objects map[netip.Addr]*v1alpha1.Address
	byPod   map[objects.Key]map[netip.Addr]bool
	held    map[string][]v1alpha1.Addr // by host
	pending map[objects.Key]netip.Addr
	marks   map[netip.Addr]bool // every address ever seen
}

func newClaimBook() *claimBook {
	return &claimBook{pools: map[string]*v1alpha1.Pool{}, books: map[string]*numbers.Book{}, objects: map[netip.Addr]*v1alpha1.Address{},
		byPod: map[objects.Key]map[netip.Addr]bool{}, held: map[string][]v1alpha1.Addr{}, pending: map[objects.Key]netip.Addr{}, marks: map[netip.Addr]bool{}}
}

// maxPool bounds how much of a pool is numbered: more fixed addresses than anybody gives out.
const maxPool = 1 << 32

// restart makes the book of all objects and reports; see ledger.restart.
func (b *claimBook) restart(pools func() []*v1alpha1.Pool, all func() []*v1alpha1.Address, reports func() []*v1alpha1.HostStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.pools)
	clear(b.books)
	clear(b.objects)
	clear(b.byPod)
	clear(b.held)
	for _, p := range pools() {
		q := p.Spec.Prefix.Prefix
		if !q.IsValid() {
			continue
		}
		b.pools[p.ObjectName()] = p
		count := prefix.Count(q, q.Addr().BitLen())
		if count == 0 || count > maxPool {
			count = maxPool // Count is zero where 64 bits do not hold it
		}
		b.books[p.ObjectName()] = numbers.New(1, count-1, nil) // 0 is the subnet-router anycast address (RFC 4291 section 2.6.1)
	}
	for a := range b.marks {
		b.note(a, (*numbers.Book).Seen)
	}
	for _, a := range b.pending {
		b.note(a, (*numbers.Book).Living)
	}
	for _, a := range all() {
		b.put(a)
	}
	for _, r := range reports() {
		b.hear(r)
	}
}

// note writes an address into the book of the pool it lies in.
func (b *claimBook) note(a netip.Addr, how func(*numbers.Book, uint64)) {
	for name, p := range b.pools {
		if p.Spec.Prefix.Contains(a) {
			if hi, lo := prefix.HostPart(a, p.Spec.Prefix.Bits()); hi == 0 {
				how(b.books[name], lo)
			}
		}
	}
}

// address is called for each change of an object that the watch tells of.
func (b *claimBook) address(o *v1alpha1.Address, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gone {
		a := o.Spec.Address.Addr
		delete(b.objects, a)
		delete(b.byPod[podOf(o)], a)
		if !b.isHeld(a) {
			b.note(a, (*numbers.Book).Returned)
		}
		return
	}
	b.put(o)
	if b.pending[podOf(o)] == o.Spec.Address.Addr {
		delete(b.pending, podOf(o))
	}
}

func (b *claimBook) wrote(o *v1alpha1.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(o)
}

func (b *claimBook) put(o *v1alpha1.Address) {
	a, pod := o.Spec.Address.Addr, podOf(o)
	b.objects[a], b.marks[a] = o, true
	if b.byPod[pod] == nil {
		b.byPod[pod] = map[netip.Addr]bool{}
	}
	b.byPod[pod][a] = true
	b.note(a, (*numbers.Book).Living)
}

func podOf(o *v1alpha1.Address) objects.Key {
	return objects.Key{Namespace: o.Spec.Namespace, Name: o.Spec.Name}
}

// report is called for each change of a HostStatus.
func (b *claimBook) report(r *v1alpha1.HostStatus, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gone {
		delete(b.held, r.ObjectName())
		return
	}
	b.hear(r)
}

func (b *claimBook) hear(r *v1alpha1.HostStatus) {
	if len(r.Status.Fixed) == 0 {
		delete(b.held, r.ObjectName())
		return
	}
	b.held[r.ObjectName()] = r.Status.Fixed
	for _, a := range r.Status.Fixed {
		b.marks[a.Addr] = true
		b.note(a.Addr, (*numbers.Book).Living)
	}
}

func (b *claimBook) isHeld(a netip.Addr) bool {
	for _, all := range b.held {
		if slices.Contains(all, v1alpha1.AddrFrom(a)) {
			return true
		}
	}
	return false
}

// decide finds the address a pod is to have: that of its claim, the one it asks for, or a new one of the pool. object is what is
// there already, or nil.
func (b *claimBook) decide(pod objects.Key, c claim, now time.Time, whole bool) (a netip.Addr, pool string, object *v1alpha1.Address, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, pool, err = b.asked(c); err != nil {
		return a, pool, nil, err
	}
	p := b.pools[pool]
	if !slices.Contains(p.Spec.Namespaces, pod.Namespace) {
		return a, pool, nil, &Problem{Why: NotGranted, Text: fmt.Sprintf("pool %s is not granted to namespace %s: add it to spec.namespaces of the Pool", pool, pod.Namespace)}
	}
	for have := range b.byPod[pod] {
		if o := b.objects[have]; o.Spec.Pool == pool && (!a.IsValid() || a == have) {
			return have, pool, o, nil
		}
	}
	if a.IsValid() {
		if o, taken := b.objects[a]; taken {
			return a, pool, nil, &Problem{Why: AddressTaken, Text: fmt.Sprintf("%s belongs to %s by its claim %s", a, podOf(o), o.ObjectName())}
		}
		return a, pool, nil, nil
	}
	if a, ok := b.pending[pod]; ok && p.Spec.Prefix.Contains(a) {
		return a, pool, nil, nil
	}
	n, _, err := b.books[pool].Next(ipam.FromUnix(now.Unix()), 0, whole)
	if err != nil {
		return a, pool, nil, &Problem{PoolFull, fmt.Sprintf("pool %s: %v", pool, err), err}
	}
	if a, err = prefix.Join(p.Spec.Prefix.Prefix, 0, n); err != nil {
		return a, pool, nil, err
	}
	b.books[pool].Living(n)
	b.pending[pod], b.marks[a] = a, true
	return a, pool, nil, nil
}

// asked reads what a pod asks for.
func (b *claimBook) asked(c claim) (a netip.Addr, pool string, err error) {
	pool = c.pool
	if c.address != "" {
		if a, err = netip.ParseAddr(c.address); err != nil {
			return a, pool, &Problem{NoPool, fmt.Sprintf("annotation %s: %q is not an address", addressAnnotation, c.address), err}
		}
		for _, name := range slices.Sorted(maps.Keys(b.pools)) {
			if pool == "" && b.pools[name].Spec.Prefix.Contains(a) {
				pool = name
			}
		}
	}
	p, ok := b.pools[pool]
	switch {
	case pool == "":
		return a, pool, &Problem{Why: NoPool, Text: fmt.Sprintf("no pool has %s", a)}
	case !ok:
		return a, pool, &Problem{Why: NoPool, Text: fmt.Sprintf("annotation %s: there is no pool %s", poolAnnotation, pool)}
	case a.IsValid() && !p.Spec.Prefix.Contains(a):
		return a, pool, &Problem{Why: NoPool, Text: fmt.Sprintf("%s is not in pool %s, %s", a, pool, p.Spec.Prefix)}
	}
	return a, pool, nil
}

func (b *claimBook) forget(pod objects.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, pod)
}

// claimed counts the claims of each pool, and lists those that the controller made.
func (b *claimBook) claimed() (counts map[string]int, ours []*v1alpha1.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts = map[string]int{}
	for _, o := range b.objects {
		counts[o.Spec.Pool]++
		if _, mine := o.Metadata.Labels[madeLabel]; mine && !b.isHeld(o.Spec.Address.Addr) {
			ours = append(ours, o)
		}
	}
	return counts, ours
}

// madeLabel marks the claims that the controller made, and may take back.
const madeLabel = "hexapod.dev/made-for-pod"

// ensureClaim gives a pod the fixed address it asks for.
func (t *term) ensureClaim(ctx context.Context, name string) error {
	namespace, podName, _ := strings.Cut(name, "/")
	pod := objects.Key{Namespace: namespace, Name: podName}
	wants, ok := t.c.pods.claim(pod)
	if !ok {
		return nil
	}
	whole, err := t.whole()
	if err != nil {
		return err
	}
	for {
		a, pool, have, err := t.c.claims.decide(pod, wants, time.Now(), whole)
		if err != nil {
			var problem *Problem
			if errors.As(err, &problem) {
				t.c.events.warn(ctx, objects.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}, problem.Why, problem.Text)
			}
			return err
		}
		if have != nil {
			return nil
		}
		o := v1alpha1.NewAddress(v1alpha1.AddressSpec{Address: v1alpha1.AddrFrom(a), Pool: pool, Namespace: pod.Namespace, Name: pod.Name})
		o.Metadata.Labels = map[string]string{madeLabel: ""}
		all := objects.In(t.c.o.Client, objects.Addresses())
		got, err := all.Create(ctx, o)
		if errors.Is(err, objects.ErrExists) {
			got, err = all.Get(ctx, o.ObjectName())
		}
		if err != nil {
			return err
		}
		t.c.claims.wrote(got)
		t.c.addresses.store.Wrote(got)
		if podOf(got) == pod {
			return nil
		}
		t.c.claims.forget(pod)
	}
}
