package link

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// tries is how often Ensure begins again when the link vanished under it, or had to be made anew.
const tries = 4

// errAgain says that the state changed so that Ensure has to look again.
var errAgain = errors.New("the link was removed meanwhile")

// Ensure makes the link of one endpoint as wanted, whatever is there of it. It costs three sends when nothing is there.
// parts of other tables (the endpoint's host routes and neighbours) go out together with the host side.
//
// It returns when packets pass in both directions (see listening and sending).
//
// A link of the same name that is not an endpoint's, and an interface inside the endpoint that is not ours, are errors
// and stay as they are. A missing namespace is fs.ErrNotExist.
func (t *Table) Ensure(ctx context.Context, want desired.Link, parts ...rtnl.Part) error {
	return t.EnsureBegun(ctx, nil, want, parts...)
}

// EnsureBegun is Ensure for a link that Begin has begun; it closes b. A nil b stands for one that is not begun.
func (t *Table) EnsureBegun(ctx context.Context, b *Begun, want desired.Link, parts ...rtnl.Part) error {
	var err error
	for range tries {
		if b == nil {
			b, err = t.begin(want, false)
		}
		if b != nil {
			err = errors.Join(t.finish(ctx, b, want, parts), b.Close())
			b = nil
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, errAgain) && !errors.Is(err, unix.ENODEV) {
			break
		}
	}
	return fmt.Errorf("endpoint %s: %w", want.Key, err)
}

// finish sets up both ends of a link that has begun.
func (t *Table) finish(ctx context.Context, b *Begun, want desired.Link, parts []rtnl.Part) (err error) {
	if err := errors.Join(valid(want), ctx.Err()); err != nil {
		return err
	}
	host, in := b.host, b.in
	seen := inside{link: rtnl.Link{Index: host.Peer, Name: want.Key.Interface, MAC: want.MAC, MTU: want.LinkMTU(), Segments: desired.PlainSegments, Merged: desired.PlainSegments}}
	var addrs []rtnl.Addr
	if !b.made {
		if seen, err = look(in, host, want); err != nil {
			return err
		}
		if seen.link.Name != want.Key.Interface {
			return t.again(host)
		}
		if addrs, err = t.conn.Addrs(host.Index); err != nil {
			return err
		}
	}
	if hears(host) {
		if err := t.refuseAdvertisements(want.Name); err != nil {
			return err
		}
	}
	late := b.made && (b.late || t.bare)
	if late {
		t.incomplete.add(host.Index, want.Name)
	}
	if err := t.setHost(want, host, addrs, late, parts); err != nil {
		return err
	}
	if err := t.do(in, insideSteps(want, seen)...); err != nil {
		return err
	}
	if err := t.shape(in, host, want); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if err := t.sending(ctx, host); err != nil { // first: what listening waits for goes on meanwhile
		return err
	}
	return listening(ctx, in, want.Addrs)
}

// make makes the pair, or finds the one that is there; made tells which.
func (t *Table) make(want desired.Link, ns *netns.NS) (host rtnl.Link, made bool, err error) {
	made = true
	nsid := rtnl.NoNSID
	err = t.do(t.conn,
		rtnl.AddVeth(
			rtnl.VethEnd{Name: want.Name, MAC: want.HostMAC, MTU: want.LinkMTU(), Group: Living, NetNS: -1},
			rtnl.VethEnd{Name: want.Key.Interface, MAC: want.MAC, MTU: want.LinkMTU(), NetNS: ns.FD()},
		).Fine(unix.EEXIST).OnFine(func(unix.Errno) { made = false }),
		rtnl.GetLink(want.Name, &host),
	)
	if err == nil && !made {
		err = t.do(t.conn, rtnl.PeerNSID(ns.FD(), &nsid))
	}
	switch {
	case errors.Is(err, unix.ENODEV) && !made:
		return host, false, t.occupied(want, ns)
	case err != nil:
		return host, false, err
	case made:
		return host, true, nil
	case !host.OfEndpoint():
		return host, false, foreign(host)
	case host.PeerNSID == rtnl.NoNSID || host.PeerNSID != nsid:
		return host, false, t.again(host) // its peer is in another namespace: moving it costs more than making it anew
	}
	return host, false, nil
}

// again removes a link of ours that cannot be repaired.
func (t *Table) again(host rtnl.Link) error {
	return errors.Join(errAgain, t.do(t.conn, rtnl.DeleteLink(host.Index, host.Name)))
}

// occupied says why the pair could not be made although its host side does not exist.
func (t *Table) occupied(want desired.Link, ns *netns.NS) error {
	in, err := rtnl.Dial(ns)
	if err != nil {
		return err
	}
	defer in.Close()
	l, ok, err := in.Link(want.Key.Interface)
	switch {
	case err != nil:
		return err
	case ok:
		return fmt.Errorf("interface %s exists in %s already and was made by something else; remove it there first", l.Name, want.NetNS)
	}
	return errAgain
}

// setHost sets up the host side together with the parts of other tables. late leaves its address for Complete.
func (t *Table) setHost(want desired.Link, host rtnl.Link, addrs []rtnl.Addr, late bool, parts []rtnl.Part) error {
	steps := hostSteps(want, host, addrs, late, t.bare)
	exists := make([]bool, len(parts))
	for i, p := range parts {
		r := p.Request(host.Index)
		steps = append(steps, r.Fine(unix.EEXIST).OnFine(func(e unix.Errno) { exists[i] = exists[i] || e == unix.EEXIST }))
	}
	errs := []error{t.do(t.conn, steps...)}
	for i, p := range parts {
		if exists[i] && p.Exists != nil {
			errs = append(errs, p.Exists())
		}
	}
	return errors.Join(errs...)
}

// look reads what an endpoint's namespace holds for the peer of host.
func look(in *rtnl.Conn, host rtnl.Link, want desired.Link) (inside, error) {
	var seen inside
	if err := in.Do(rtnl.GetLinkIndex(host.Peer, &seen.link)); err != nil {
		return seen, err
	}
	var errs [3]error
	seen.addrs, errs[0] = in.Addrs(host.Peer)
	seen.neighs, errs[1] = in.Neighs(host.Peer)
	seen.routes, errs[2] = in.Routes(unix.RT_TABLE_MAIN, 0)
	if !dual(want) {
		return seen, errors.Join(errs[:]...)
	}
	addrs, addrErr := in.Addrs4(host.Peer)
	routes, routeErr := in.Routes4(unix.RT_TABLE_MAIN, 0)
	seen.addrs, seen.routes = append(seen.addrs, addrs...), append(seen.routes, routes...)
	return seen, errors.Join(errors.Join(errs[:]...), addrErr, routeErr)
}
