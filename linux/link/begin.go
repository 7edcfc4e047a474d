package link

import (
	"errors"
	"fmt"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// Begun is a link whose pair exists and whose addresses may not be known yet. EnsureBegun finishes and closes it.
type Begun struct {
	ns   *netns.NS
	host rtnl.Link
	made bool // it was not there before
	late bool // what its endpoint can do without for a second is left for Complete
	in   *rtnl.Conn
}

// Begin makes the pair of a link, or finds the one that is there. What it does needs no address, so it can be done while the
// address is still being written down: each of the two takes a good part of a CNI ADD. want.Addrs is not looked at. What a pair
// that was made here can do without for a second is left for Complete.
func (t *Table) Begin(want desired.Link) (*Begun, error) { return t.begin(want, true) }

func (t *Table) begin(want desired.Link, late bool) (_ *Begun, err error) {
	if err := valid(want); err != nil {
		return nil, err
	}
	b := &Begun{late: late}
	if b.ns, err = netns.Open(want.NetNS); err != nil {
		return nil, fmt.Errorf("link %s: %w", want.Name, err)
	}
	if b.host, b.made, err = t.make(want, b.ns); err == nil {
		b.in, err = rtnl.DialBrief(b.ns)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close gives b up. The link stays, for Retire to take.
func (b *Begun) Close() error {
	var errs []error
	if b.in != nil {
		errs = append(errs, b.in.Close())
	}
	return errors.Join(append(errs, b.ns.Close())...)
}
