package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/identity"
)

// The annotations by which a pod asks for a fixed address: an address of a pool, and which one.
const (
	poolAnnotation    = "hexapod.dev/pool"
	addressAnnotation = "hexapod.dev/address"
)

// podFeed follows pods, and keeps of each only whose set it has, the ports it has names for and which address it asks for: there are many.
type podFeed struct {
	collection objects.Collection[objects.Pod]
	wanted     func(key string)      // a set of labels appeared
	claimed    func(pod objects.Key) // a pod that asks for an address appeared, or went
	replaced   func(again bool)

	mu     sync.Mutex
	known  chan struct{}   // closed when rules are known
	rules  *identity.Rules // nil: not known yet
	relist context.CancelFunc
	got    bool
	words  map[string]string
	sets   map[string]*podSet // by key
	pods   map[objects.Key]podEntry
	claims map[objects.Key]claim
}

// podSet is a set of labels, how many pods have it, and how many of them have names for which ports. Mostly all have the same.
type podSet struct {
	key   string
	set   identity.Set
	pods  int
	named map[string]int // by the ports of a pod, in words
}

// podEntry is what is kept of a pod.
type podEntry struct {
	set   *podSet
	named string // its ports, in words: a key of set.named
}

// ports lists the ports that pods of the set have names for.
func (s *podSet) ports() (all []v1alpha1.NamedPort) {
	for words := range s.named {
		for _, w := range strings.Fields(words) {
			var p v1alpha1.NamedPort
			part := strings.Split(w, "/")
			n, err := strconv.ParseUint(part[2], 10, 16)
			if err != nil {
				continue // namedPorts writes numbers
			}
			p.Name, p.Protocol, p.Port = part[0], v1alpha1.PortProtocol(part[1]), uint16(n)
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.NamedPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return all
}

// namedPorts writes the ports that a pod has names for: `dns/UDP/53 web/TCP/80`.
func namedPorts(p *objects.Pod) string {
	var words []string
	for _, q := range p.Ports() {
		if q.Name != "" {
			words = append(words, fmt.Sprintf("%s/%s/%d", q.Name, cmp.Or(q.Protocol, string(v1alpha1.ProtocolTCP)), q.ContainerPort))
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// claim is what a pod asks for.
type claim struct{ pool, address string }

func newPodFeed(c *objects.Client) *podFeed {
	// A pod of the host's own network has no address of ours.
	pods := objects.In(c, objects.Pods()).Where("spec.hostNetwork=false", "")
	return &podFeed{collection: pods, known: make(chan struct{})}
}

// run follows pods under the rules there are, and anew when they change.
func (f *podFeed) run(ctx context.Context, log *slog.Logger) error {
	select {
	case <-f.known:
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		following, stop := context.WithCancel(ctx)
		f.mu.Lock()
		f.relist = stop
		f.mu.Unlock()
		err := f.collection.Follow(following, log, f)
		stop()
		if ctx.Err() == nil && following.Err() == nil {
			return err
		}
	}
	return ctx.Err()
}

// setRules says which labels count. Pods are read again when that has changed.
func (f *podFeed) setRules(r identity.Rules) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := f.rules != nil && f.rules.Version() == r.Version() && slices.Equal(f.rules.Excluded(), r.Excluded())
	if f.rules == nil {
		close(f.known)
	}
	f.rules = &r
	if !same && f.relist != nil {
		f.got = false
		f.relist()
	}
}

// rulesNow returns which labels count; false: nobody knows yet.
func (f *podFeed) rulesNow() (identity.Rules, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rules == nil {
		return identity.Rules{}, false
	}
	return *f.rules, true
}

// listed reports whether a whole list was read, or none is wanted because nobody knows yet which labels count.
func (f *podFeed) listed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got || f.rules == nil
}

// Replace is called by Follow.
func (f *podFeed) Replace(l objects.Listing[objects.Pod]) {
	f.mu.Lock()
	f.words, f.sets, f.pods, f.claims = map[string]string{}, map[string]*podSet{}, make(map[objects.Key]podEntry, len(l.Objects)), map[objects.Key]claim{}
	for _, p := range l.Objects {
		f.put(p)
	}
	f.got = true
	f.mu.Unlock()
	f.replaced(l.Again)
}

// Apply is called by Follow.
func (f *podFeed) Apply(c objects.Change[objects.Pod]) {
	key := objects.KeyOf(&c.Object.Header)
	f.mu.Lock()
	before, had := f.pods[key]
	was, claimedBefore := f.claims[key]
	if c.Gone {
		f.drop(key)
	} else {
		f.put(c.Object)
	}
	now, claims := f.claims[key]
	after, has := f.pods[key]
	f.mu.Unlock()
	if after != before {
		if had && before.set != after.set && before.named != "" {
			f.wanted(before.set.key) // its ports may have names no more
		}
		if has {
			f.wanted(after.set.key)
		}
	}
	if claims != claimedBefore || was != now {
		f.claimed(key)
	}
}

// put takes a pod into the books.
func (f *podFeed) put(p *objects.Pod) {
	key := objects.KeyOf(&p.Header)
	f.drop(key)
	c := claim{p.Metadata.Annotations[poolAnnotation], p.Metadata.Annotations[addressAnnotation]}
	if c != (claim{}) {
		f.claims[key] = c
	}
	set := identity.Set{Namespace: p.Metadata.Namespace, Labels: p.Metadata.Labels}
	k := string(f.rules.Key(set))
	s, ok := f.sets[k]
	if !ok {
		s = &podSet{key: k, set: f.rules.Reduce(set), named: map[string]int{}}
		f.sets[k] = s
	}
	s.pods++
	named := namedPorts(p)
	if same := f.words[named]; same != "" {
		named = same // one copy of what many pods say
	} else {
		f.words[named] = named
	}
	s.named[named]++
	f.pods[key] = podEntry{s, named}
}

func (f *podFeed) drop(key objects.Key) {
	delete(f.claims, key)
	p, ok := f.pods[key]
	if !ok {
		return
	}
	delete(f.pods, key)
	s := p.set
	if s.named[p.named]--; s.named[p.named] == 0 {
		delete(s.named, p.named)
	}
	if s.pods--; s.pods == 0 {
		delete(f.sets, s.key)
	}
}

// set returns a set that pods have, and the ports that they have names for; false: no pod has it any more.
func (f *podFeed) set(key string) (identity.Set, []v1alpha1.NamedPort, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.sets[key]
	if !ok {
		return identity.Set{}, nil, false
	}
	return s.set, s.ports(), true
}

// setOf returns the set of a pod; false: there is no such pod.
func (f *podFeed) setOf(pod objects.Key) (identity.Set, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.pods[pod]
	if !ok {
		return identity.Set{}, false
	}
	return s.set.set, true
}

// claim returns what a pod asks for; false: nothing, or there is no such pod.
func (f *podFeed) claim(pod objects.Key) (claim, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.claims[pod]
	return c, ok
}

// all lists the keys of the sets and the pods that ask for an address.
func (f *podFeed) all() (sets []string, claims []objects.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.sets {
		sets = append(sets, k)
	}
	for k := range f.claims {
		claims = append(claims, k)
	}
	return sets, claims
}

// count returns how many pods and sets there are.
func (f *podFeed) count() (pods, sets int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pods), len(f.sets)
}
