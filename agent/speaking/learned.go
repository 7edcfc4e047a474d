package speaking

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// follow writes what is learned into the kernel as it comes.
func (m *Mouth) follow(ctx context.Context) error {
	settled := false
	for {
		news, err := m.speaker.Learned(ctx)
		if err != nil {
			return nil // ctx ended
		}
		if now := m.speaker.Settled(); now != settled {
			settled = now
			m.options.Look() // what is only of before goes now
		}
		if err := m.write(ctx, news, settled); err != nil {
			m.options.Look() // a whole look finds out, reports it and tries again
		}
	}
}

// write writes a part. Before the peers have told all, routes of before stay: most of them come again (RFC 4724 section 4.1).
func (m *Mouth) write(ctx context.Context, news []announce.Learned, settled bool) error {
	set, gone := map[netip.Prefix][]desired.NextHop{}, []netip.Prefix(nil)
	for _, l := range news {
		switch {
		case !l.Prefix.Addr().Is6(): // shown, and not used: no IPv4 inside
		case len(l.Hops) > 0:
			set[l.Prefix] = l.Hops
		case settled:
			gone = append(gone, l.Prefix)
		}
	}
	if err := m.nameLinks(set); err != nil {
		return err
	}
	if len(set) > 0 {
		if err := m.fib.Ensure(ctx, set); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		return m.fib.Remove(ctx, gone...)
	}
	return nil
}

// Learn makes the kernel hold what is learned, all of it.
func (m *Mouth) Learn(ctx context.Context) (none diff.Delta[string], _ error) {
	settled := m.speaker.Settled()
	want := m.speaker.Routes()
	maps.DeleteFunc(want, func(p netip.Prefix, _ []desired.NextHop) bool { return !p.Addr().Is6() })
	if err := m.nameLinks(want); err != nil {
		return none, err
	}
	if !settled {
		return none, m.fib.Ensure(ctx, want)
	}
	return m.fib.Reconcile(ctx, want)
}

// nameLinks fills in the links of next hops that were told by their address alone: the link on whose prefix they lie. Next hops
// that were one slice stay one.
func (m *Mouth) nameLinks(routes map[netip.Prefix][]desired.NextHop) error {
	named := map[*desired.NextHop][]desired.NextHop{}
	var find func(netip.Addr) string
	for p, hops := range routes {
		if !slices.ContainsFunc(hops, func(h desired.NextHop) bool { return h.Link == "" }) {
			continue
		}
		done, ok := named[&hops[0]]
		if !ok {
			if find == nil {
				var err error
				if find, err = m.linkFinder(); err != nil {
					return err
				}
			}
			for _, h := range hops {
				if h.Link == "" {
					h.Link = find(h.Via)
				}
				done = append(done, h)
			}
			named[&hops[0]] = done
		}
		routes[p] = done
	}
	return nil
}

// linkFinder returns a function that names the link on whose prefix an address lies; empty when there is none.
func (m *Mouth) linkFinder() (func(netip.Addr) string, error) {
	addrs, err := m.options.Conn.Addrs(0)
	if err != nil {
		return nil, err
	}
	links, err := m.options.Conn.Links()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	return func(addr netip.Addr) string {
		for _, have := range addrs {
			if have.Prefix.Contains(addr) && !have.Prefix.IsSingleIP() {
				return names[have.Index]
			}
		}
		return ""
	}, nil
}
