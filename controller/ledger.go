package controller

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/numbers"
	"hexapod.dev/model/prefix"
)

// ledger knows who has which host prefix, from the objects and from what hosts report. It decides on prefixes for hosts, and
// remembers a decision until its object was written: a write that may or may not have been done is tried again with the same prefix.
type ledger struct {
	mu      sync.Mutex
	layout  *layout
	objects map[string]*v1alpha1.HostPrefix // by name
	byHost  map[string]map[string]*v1alpha1.HostPrefix
	held    map[string][]netip.Prefix // by host: what it reported
	racks   map[uint64]*numbers.Book
	ipv4    *numbers.Book
	marks   map[netip.Prefix]bool // everything ever seen
	pending map[slot]v1alpha1.HostPrefixSpec
}

// slot is what a host has one prefix of: a family.
type slot struct {
	host string
	ipv4 bool
}

func newLedger() *ledger {
	return &ledger{objects: map[string]*v1alpha1.HostPrefix{}, byHost: map[string]map[string]*v1alpha1.HostPrefix{},
		held: map[string][]netip.Prefix{}, marks: map[netip.Prefix]bool{}, pending: map[slot]v1alpha1.HostPrefixSpec{}}
}

// restart makes the books of a layout, of all objects, and of everything that was seen in this process before. It asks for the
// objects itself, so that no change can come in between.
func (l *ledger) restart(layout *layout, all func() []*v1alpha1.HostPrefix, reports func() []*v1alpha1.HostStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.layout, l.racks, l.ipv4 = layout, map[uint64]*numbers.Book{}, nil
	clear(l.objects)
	clear(l.byHost)
	clear(l.held)
	for p := range l.marks {
		l.seen(p)
	}
	for _, spec := range l.pending {
		l.living(spec.Prefix.Prefix)
	}
	for _, p := range all() {
		l.put(p)
	}
	for _, r := range reports() {
		l.hear(r)
	}
}

// prefix is called for each change of an object that the watch tells of.
func (l *ledger) prefix(p *v1alpha1.HostPrefix, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gone {
		l.remove(p)
		return
	}
	// Now, and not when it was written, the reservation ends: a list that was on its way meanwhile may not have the object.
	s := slot{p.Spec.Host, p.Spec.Prefix.Addr().Is4()}
	if l.pending[s].Prefix == p.Spec.Prefix {
		delete(l.pending, s)
	}
	l.put(p)
}

// wrote is called with an object that was just written.
func (l *ledger) wrote(p *v1alpha1.HostPrefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(p)
}

func (l *ledger) put(p *v1alpha1.HostPrefix) {
	name, q := p.ObjectName(), p.Spec.Prefix.Prefix
	l.objects[name] = p
	of := l.byHost[p.Spec.Host]
	if of == nil {
		of = map[string]*v1alpha1.HostPrefix{}
		l.byHost[p.Spec.Host] = of
	}
	of[name] = p
	l.marks[q] = true
	if p.Living() {
		l.living(q)
	} else if !l.isHeld(q) {
		l.retire(q, ipam.FromUnix(p.Spec.Retired.Unix()))
	}
}

func (l *ledger) remove(p *v1alpha1.HostPrefix) {
	delete(l.objects, p.ObjectName())
	delete(l.byHost[p.Spec.Host], p.ObjectName())
	if book, n, ok := l.book(p.Spec.Prefix.Prefix); ok && !l.isHeld(p.Spec.Prefix.Prefix) {
		book.Returned(n)
	}
}

// report is called for each change of a HostStatus.
func (l *ledger) report(r *v1alpha1.HostStatus, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gone {
		delete(l.held, r.ObjectName())
		return
	}
	l.hear(r)
}

func (l *ledger) hear(r *v1alpha1.HostStatus) {
	var held []netip.Prefix
	for _, p := range r.Status.Prefixes {
		if p.IsValid() {
			held = append(held, p.Prefix)
			l.marks[p.Prefix] = true
			l.living(p.Prefix)
		}
	}
	l.held[r.ObjectName()] = held
	for _, p := range r.Status.Seen.Prefixes {
		if p.IsValid() && !l.marks[p.Prefix] {
			l.marks[p.Prefix] = true
			l.seen(p.Prefix)
		}
	}
}

// isHeld reports whether a host says that it holds a prefix. It is asked for prefixes whose objects say that they rest.
func (l *ledger) isHeld(p netip.Prefix) bool {
	for _, held := range l.held {
		for _, q := range held {
			if p == q {
				return true
			}
		}
	}
	return false
}

// book finds the book that a prefix is a number of.
func (l *ledger) book(p netip.Prefix) (*numbers.Book, uint64, bool) {
	if l.layout == nil {
		return nil, 0, false
	}
	if p.Addr().Is4() {
		n, ok := l.layout.ipv4Number(p)
		if !ok {
			return nil, 0, false
		}
		return l.ipv4Book(), n, true
	}
	rack, n, ok := l.layout.number(p)
	if !ok {
		return nil, 0, false
	}
	return l.rackBook(rack), n, true
}

func (l *ledger) rackBook(rack uint64) *numbers.Book {
	b, ok := l.racks[rack]
	if !ok {
		b = numbers.New(0, l.layout.hostsOfRack()-1, func(n uint64) bool {
			_, err := l.layout.plan.HostPrefix(l.layout.cluster, rack, n)
			return err == nil
		})
		l.racks[rack] = b
	}
	return b
}

func (l *ledger) ipv4Book() *numbers.Book {
	if l.ipv4 == nil {
		l.ipv4 = numbers.New(0, prefix.Count(l.layout.plan.IPv4.Prefix, l.layout.plan.IPv4.HostLength)-1, nil)
	}
	return l.ipv4
}

func (l *ledger) living(p netip.Prefix) {
	if b, n, ok := l.book(p); ok {
		b.Living(n)
	}
}

func (l *ledger) seen(p netip.Prefix) {
	if b, n, ok := l.book(p); ok {
		b.Seen(n)
	}
}

func (l *ledger) retire(p netip.Prefix, since ipam.Seconds) {
	if b, n, ok := l.book(p); ok {
		b.Retire(n, since)
	}
}

// of returns the object of a host's prefix of a family: the living one, else the youngest that rests, else nil.
func (l *ledger) of(host string, ipv4 bool) *v1alpha1.HostPrefix {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bestOf(host, ipv4)
}

func (l *ledger) bestOf(host string, ipv4 bool) (best *v1alpha1.HostPrefix) {
	for _, p := range l.byHost[host] {
		switch {
		case p.Spec.Prefix.Addr().Is4() != ipv4:
		case best == nil, p.Living() && !best.Living(),
			p.Living() == best.Living() && p.ObjectName() < best.ObjectName() && p.Living(),
			!p.Living() && !best.Living() && p.Spec.Retired.After(best.Spec.Retired.Time):
			best = p
		}
	}
	return best
}

// owner returns the object of a prefix, or nil.
func (l *ledger) owner(p netip.Prefix) *v1alpha1.HostPrefix {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.objects[v1alpha1.PrefixName(p)]
}

// reportedBy returns what a host said it holds.
func (l *ledger) reportedBy(host string) []netip.Prefix {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[host]
}

// decision is a prefix for a host, and the object that has to be removed before: that of the prefix's last life.
type decision struct {
	spec    v1alpha1.HostPrefixSpec
	replace *v1alpha1.HostPrefix
}

// decide reserves a prefix of a family for a host of a rack. whole says that every host has reported.
func (l *ledger) decide(s slot, rack uint64, now time.Time, whole bool) (decision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if spec, ok := l.pending[s]; ok {
		return decision{spec, l.objects[v1alpha1.PrefixName(spec.Prefix.Prefix)]}, nil
	}
	book := l.ipv4Book
	if !s.ipv4 {
		book = func() *numbers.Book { return l.rackBook(rack) }
	}
	b := book()
	n, returned, err := b.Next(ipam.FromUnix(now.Unix()), ipam.Seconds(l.layout.plan.Rest), whole)
	if err != nil {
		return decision{}, l.full(s, rack, err)
	}
	spec, err := l.layout.spec(s, rack, n)
	if err != nil {
		return decision{}, err
	}
	d := decision{spec: spec}
	if returned {
		d.replace = l.objects[v1alpha1.PrefixName(spec.Prefix.Prefix)]
	}
	b.Living(n)
	l.marks[spec.Prefix.Prefix] = true
	l.pending[s] = spec
	return d, nil
}

func (l *ledger) full(s slot, rack uint64, err error) error {
	if s.ipv4 {
		return &Problem{IPv4Full, fmt.Sprintf("IPv4 ranges of /%d in %s: %v: use a larger spec.ipv4.prefix", l.layout.plan.IPv4.HostLength, l.layout.plan.IPv4.Prefix, err), err}
	}
	return &Problem{RackFull, fmt.Sprintf("rack %s: %v: label nodes of another rack with %s", l.layout.rackName(rack), err, rackLabel), err}
}

// forget ends a reservation: the prefix turned out to be somebody else's.
func (l *ledger) forget(s slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, s)
}

// count returns how many prefixes have a host, and how many rest.
func (l *ledger) count() (living, resting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.objects {
		switch {
		case p.Spec.Prefix.Addr().Is4():
		case p.Living():
			living++
		default:
			resting++
		}
	}
	return living, resting
}

// layout is the part of the plan that this cluster is.
type layout struct {
	plan    addressplan.Plan
	cluster addressplan.Cluster
	prefix  netip.Prefix // of the cluster
}

// rackLabel of a node names its rack.
const rackLabel = "topology.hexapod.dev/rack"

func newLayout(plan addressplan.Plan, cluster string) (*layout, error) {
	if cluster == "" && len(plan.Clusters) == 1 {
		cluster = plan.Clusters[0].Name
	}
	if cluster == "" && len(plan.Clusters) == 0 {
		return nil, &Problem{Why: NoPlan, Text: fmt.Sprintf("plan %s has no clusters: add this one to spec.clusters", plan.Name)}
	}
	c, err := plan.Cluster(cluster)
	if err != nil {
		return nil, &Problem{Why: NoPlan, Text: fmt.Sprintf("which cluster of plan %s this is, is not known: start the controller with --cluster: %v", plan.Name, err), Err: err}
	}
	q, err := plan.ClusterPrefix(c)
	if err != nil {
		return nil, &Problem{Why: NoPlan, Text: err.Error(), Err: err}
	}
	plan.Hosts = nil
	return &layout{plan, c, q}, nil
}

// hostsOfRack is how many numbers a rack has.
func (l *layout) hostsOfRack() uint64 { return 1 << (l.plan.Lengths.Host - l.plan.Lengths.Rack) }

// defaultRack is the rack of nodes without a label: the highest, so that it is not in the way of racks that people number. It
// spans the cluster, so nobody aggregates it.
func (l *layout) defaultRack() uint64 { return 1<<(l.plan.Lengths.Rack-l.prefix.Bits()) - 1 }

// rack reads the label of a node.
func (l *layout) rack(label string) (uint64, error) {
	if label == "" {
		return l.defaultRack(), nil
	}
	r, err := l.cluster.Rack(label)
	if err == nil && r.Number > l.defaultRack() {
		err = fmt.Errorf("rack %d does not fit: the highest is %d", r.Number, l.defaultRack())
	}
	if err != nil {
		return 0, &Problem{UnknownRack, fmt.Sprintf("label %s=%s: %v", rackLabel, label, err), err}
	}
	return r.Number, nil
}

func (l *layout) rackName(n uint64) string {
	for _, r := range l.cluster.Racks {
		if r.Number == n {
			return r.Name
		}
	}
	return fmt.Sprint(n)
}

// number says which host of which rack a prefix is.
func (l *layout) number(p netip.Prefix) (rack, host uint64, ok bool) {
	if p.Bits() != l.plan.Lengths.Host || !prefix.ContainsPrefix(l.prefix, p) {
		return 0, 0, false
	}
	outer, rack, err := prefix.At(l.prefix, l.plan.Lengths.Rack, p.Addr())
	if err != nil || rack == 0 {
		return 0, 0, false
	}
	host, err = prefix.Index(outer, p)
	return rack, host, err == nil
}

func (l *layout) ipv4Number(p netip.Prefix) (uint64, bool) {
	outer := l.plan.IPv4.Prefix
	if !outer.IsValid() || p.Bits() != l.plan.IPv4.HostLength || !prefix.ContainsPrefix(outer, p) {
		return 0, false
	}
	n, err := prefix.Index(outer, p)
	return n, err == nil
}

// spec is what is written about a number.
func (l *layout) spec(s slot, rack, n uint64) (v1alpha1.HostPrefixSpec, error) {
	if s.ipv4 {
		p, err := prefix.Child(l.plan.IPv4.Prefix, l.plan.IPv4.HostLength, n)
		return v1alpha1.HostPrefixSpec{Prefix: v1alpha1.PrefixFrom(p), Host: s.host}, err
	}
	p, err := l.plan.HostPrefix(l.cluster, rack, n)
	if err != nil {
		return v1alpha1.HostPrefixSpec{}, err
	}
	number := uint32(n)
	return v1alpha1.HostPrefixSpec{Prefix: v1alpha1.PrefixFrom(p), Host: s.host, Cluster: v1alpha1.Ref(l.cluster.Name),
		Rack: v1alpha1.Ref(l.rackName(rack)), Number: &number}, nil
}

// layoutNow returns the layout, or nil where the plan cannot be used.
func (l *ledger) layoutNow() *layout {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.layout
}

// known says whether a prefix that a host has, by its own word, is one of the plan's and nobody else's: then it is written down.
func (l *ledger) known(s slot, p netip.Prefix) (v1alpha1.HostPrefixSpec, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.layout == nil {
		return v1alpha1.HostPrefixSpec{}, false
	}
	if s.ipv4 {
		n, ok := l.layout.ipv4Number(p)
		if !ok {
			return v1alpha1.HostPrefixSpec{}, false
		}
		spec, err := l.layout.spec(s, 0, n)
		return spec, err == nil
	}
	rack, n, ok := l.layout.number(p)
	if !ok {
		return v1alpha1.HostPrefixSpec{}, false
	}
	spec, err := l.layout.spec(s, rack, n)
	return spec, err == nil
}

// livingOf returns the objects of the prefixes that a host has.
func (l *ledger) livingOf(host string) (all []*v1alpha1.HostPrefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.byHost[host] {
		if p.Living() {
			all = append(all, p)
		}
	}
	return all
}

// overlapping finds a living prefix of another host that shares addresses with p and is not p itself.
func (l *ledger) overlapping(p netip.Prefix, host string) (*v1alpha1.HostPrefix, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.objects {
		if o.Living() && o.Spec.Host != host && o.Spec.Prefix.Prefix != p && o.Spec.Prefix.Overlaps(p) {
			return o, true
		}
	}
	return nil, false
}

// inRack reports whether a prefix is one of a rack's.
func (l *ledger) inRack(p netip.Prefix, rack uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.layout == nil {
		return false
	}
	of, _, ok := l.layout.number(p)
	return ok && of == rack
}
