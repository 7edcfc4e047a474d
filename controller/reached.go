package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"hexapod.dev/api/v1alpha1"
)

// reachedBook knows which host has which address. Two nodes may say that they have the same one, a copied machine image for example; two
// Hosts must not, or every agent would refuse the configuration as a whole (api/v1alpha1). The first one keeps it.
type reachedBook struct {
	mu      sync.Mutex
	owner   map[netip.Addr]string
	waiting map[netip.Addr][]string // hosts that want what another has
}

func newReachedBook() *reachedBook {
	return &reachedBook{owner: map[netip.Addr]string{}, waiting: map[netip.Addr][]string{}}
}

// restart makes the book of the Hosts there are.
func (b *reachedBook) restart(hosts func() []*v1alpha1.Host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.owner)
	clear(b.waiting)
	for _, h := range hosts() {
		for _, a := range reachedBy(h.Spec) {
			b.owner[a] = h.ObjectName()
		}
	}
}

// reachedBy lists the addresses that one host alone may have. A link-local one is good on its link only.
func reachedBy(s v1alpha1.HostSpec) (all []netip.Addr) {
	for _, a := range s.Addresses {
		all = append(all, a.Addr)
	}
	for _, u := range s.Uplinks {
		if u.Address.IsValid() && !u.Address.IsLinkLocalUnicast() {
			all = append(all, u.Address.Addr)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// claim takes the addresses of a host for it and out of s those that another host has, which the problem tells. freed are hosts that wait
// for what this one had.
func (b *reachedBook) claim(host string, s *v1alpha1.HostSpec) (twice *Problem, freed []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	want := reachedBy(*s)
	freed = b.release(host, want)
	var lost []netip.Addr
	var words []string
	for _, a := range want {
		other, taken := b.owner[a]
		if !taken || other == host {
			b.owner[a] = host
			continue
		}
		lost = append(lost, a)
		words = append(words, fmt.Sprintf("%s is also an address of node %s, which had it first", a, other))
		if !slices.Contains(b.waiting[a], host) {
			b.waiting[a] = append(b.waiting[a], host)
		}
	}
	if lost == nil {
		return nil, freed
	}
	without := func(a v1alpha1.Addr) bool { return slices.Contains(lost, a.Addr) }
	s.Addresses = slices.DeleteFunc(slices.Clone(s.Addresses), without)
	s.Uplinks = slices.Clone(s.Uplinks)
	for i := range s.Uplinks {
		if without(s.Uplinks[i].Address) {
			s.Uplinks[i].Address = v1alpha1.Addr{}
		}
	}
	return &Problem{Why: HostAddressTaken, Text: strings.Join(words, "; ") + ": give node " + host + " one of its own"}, freed
}

// forget ends what a host that is gone had.
func (b *reachedBook) forget(host string) (freed []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.release(host, nil)
}

// release gives back what a host had and does not want any more. The caller holds mu.
func (b *reachedBook) release(host string, want []netip.Addr) (freed []string) {
	for a, who := range b.owner {
		if who == host && !slices.Contains(want, a) {
			delete(b.owner, a)
			freed = append(freed, b.waiting[a]...)
			delete(b.waiting, a)
		}
	}
	for a, hosts := range b.waiting {
		if !slices.Contains(want, a) {
			b.waiting[a] = slices.DeleteFunc(hosts, func(h string) bool { return h == host })
		}
	}
	slices.Sort(freed)
	return slices.Compact(freed)
}
