package agent

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/route"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// held is a route of ours as the kernel has it, with the name of its link.
type held struct {
	route rtnl.Route
	link  string
}

// HeldRoutes lists our routes by destination, learned ones left out.
func (k *kernel) HeldRoutes() (map[netip.Prefix]held, error) {
	list, err := k.conn.Routes(unix.RT_TABLE_MAIN, route.Protocol)
	if err != nil {
		return nil, err
	}
	list4, err := k.conn.Routes4(unix.RT_TABLE_MAIN, route.Protocol)
	if err != nil {
		return nil, err
	}
	list = append(list, list4...)
	links, err := k.conn.Links()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	routes := make(map[netip.Prefix]held, len(list))
	for _, r := range list {
		if !route.Learned(r, route.Protocol) {
			routes[r.Dst] = held{r, names[r.Index]}
		}
	}
	return routes, nil
}

// is reports whether h is what was wanted.
func (h held) is(want desired.Route) bool {
	if want.Discard {
		return h.route.Type == unix.RTN_UNREACHABLE
	}
	return h.route.Type == unix.RTN_UNICAST && h.link == want.Link && h.route.Via == want.Via
}

func (k *kernel) checkRoutes(e desired.Endpoint) error {
	wanted, err := k.notInPlace(desired.RoutesFor(e))
	if err != nil || len(wanted) == 0 {
		return err
	}
	have, err := k.HeldRoutes()
	if err != nil {
		return err
	}
	var errs []error
	for _, want := range wanted {
		switch h, ok := have[want.Dst]; {
		case !ok:
			errs = append(errs, fmt.Errorf("endpoint %s: route %s does not exist", e.Key, want))
		case !h.is(want):
			errs = append(errs, fmt.Errorf("endpoint %s: route %s leads to %s", e.Key, want, h.link))
		}
	}
	return errors.Join(errs...)
}

// notInPlace leaves out the routes that packets take as they should, which is asked one by one: with the routes of a whole
// fabric beside them, listing all takes tenths of a second.
func (k *kernel) notInPlace(wanted []desired.Route) (left []desired.Route, err error) {
	for _, want := range wanted {
		if want.Dst.Addr().Is6() && want.Dst.IsSingleIP() {
			r, ok, err := k.conn.RouteTo(want.Dst.Addr())
			if err != nil {
				return nil, err
			}
			l, up, err := k.conn.Link(want.Link)
			if err != nil {
				return nil, err
			}
			have := held{r, want.Link}
			if ok && up && r.Dst == want.Dst && r.Index == l.Index && r.Protocol == route.Protocol && have.is(want) {
				continue
			}
		}
		left = append(left, want)
	}
	return left, nil
}

func (k *kernel) checkNeighbours(e desired.Endpoint) error {
	l, _, err := k.conn.Link(desired.LinkName(e.Key))
	if err != nil {
		return err
	}
	have, err := k.conn.Neighs(l.Index)
	if err != nil {
		return err
	}
	permanent := map[netip.Addr]desired.MAC{}
	for _, n := range have {
		if n.Permanent {
			permanent[n.Addr] = n.MAC
		}
	}
	var errs []error
	for _, want := range desired.NeighboursFor(e) {
		if permanent[want.Addr] != want.MAC {
			errs = append(errs, fmt.Errorf("endpoint %s: neighbour %s does not exist", e.Key, want))
		}
	}
	return errors.Join(errs...)
}
