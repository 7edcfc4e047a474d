package ndp

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Told is a prefix for NAT64 that a router on a link tells (RFC 8781). It counts as long as it was told to, whatever becomes of the router: its
// lifetime is its own (RFC 8781 4.1).
type Told struct {
	Pref64
	Router netip.Addr // link-local
	Until  time.Time
}

const (
	maxTold = 32 // on one link
	// doubt is for how long prefixes still count after the link was plugged in anew, and nobody told them since: it may be another network.
	doubt = 30 * time.Second
)

// told is what routers on one link tell.
type told struct {
	list     []Told
	doubtful bool // the link was plugged in anew
}

// hear takes what one advertisement says. What it does not mention stays as it is: a router may say it in another one (RFC 4861 6.2.3).
func (t *told) hear(router netip.Addr, says []Pref64, now time.Time) (changed bool) {
	for _, p := range says {
		i := slices.IndexFunc(t.list, func(x Told) bool {
			return x.Router == router && x.Prefix == p.Prefix && x.Reserved == p.Reserved
		})
		switch {
		case p.Lifetime == 0 && i < 0:
			continue
		case p.Lifetime == 0: // RFC 8781 4.1: not to be used any more
			t.list = slices.Delete(t.list, i, i+1)
		case i >= 0:
			t.list[i].Lifetime, t.list[i].Until = p.Lifetime, now.Add(p.Lifetime)
		case len(t.list) == maxTold: // those that are known stay
			continue
		default:
			t.list = append(t.list, Told{p, router, now.Add(p.Lifetime)})
		}
		changed = true
	}
	return changed
}

// tick forgets what is over, and tells when the next one will be.
func (t *told) tick(now time.Time) (next time.Time, changed bool) {
	if t.doubtful {
		t.doubtful = false
		for i := range t.list {
			t.list[i].Until = earlier(t.list[i].Until, now.Add(doubt))
		}
		changed = len(t.list) > 0
	}
	before := len(t.list)
	t.list = slices.DeleteFunc(t.list, func(x Told) bool { return !now.Before(x.Until) })
	for _, x := range t.list {
		next = earlier(next, x.Until)
	}
	return next, changed || len(t.list) != before
}

// all returns what counts, by prefix and router.
func (t *told) all() []Told {
	list := slices.Clone(t.list)
	slices.SortFunc(list, func(a, b Told) int {
		x, y := a.Prefix.Addr().As16(), b.Prefix.Addr().As16()
		return cmp.Or(bytes.Compare(x[:], y[:]), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), a.Router.Compare(b.Router))
	})
	return list
}
