package datapath

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/datapath"
	"hexapod.dev/model/diff"
)

// hangUplinks hangs the stub on every uplink, and takes it off links that are none.
func (t *Table) hangUplinks(want datapath.Want, list []rtnl.Link, done *diff.Delta[string]) error {
	var errs []error
	for _, l := range list {
		if l.OfEndpoint() || l.Loopback {
			continue
		}
		_, wanted := want.Uplinks[l.Name]
		changed, err := t.hangUplink(l, wanted)
		errs = append(errs, err)
		switch what := "program " + l.Name; {
		case changed && wanted:
			done.Add = append(done.Add, what)
		case changed:
			done.Remove = append(done.Remove, what)
		}
	}
	return errors.Join(errs...)
}

// hangUplink hangs the stub on one link by tcx (kernel 6.6), else by clsact, or takes it off.
func (t *Table) hangUplink(l rtnl.Link, wanted bool) (changed bool, err error) {
	pinned := t.uplinkFile(l.Index)
	if !wanted {
		return t.takeOff(pinned, l)
	}
	err = t.inside(func() error { changed, err = pin.HangTCX(pinned, t.stubs[stubFromUplink], l.Index); return err })
	if errors.Is(err, ebpf.ErrNotSupported) {
		return t.ensureFilter(l.Index, l.Name, rtnl.Ingress, stubFromUplink)
	}
	if err != nil {
		return false, fmt.Errorf("hang %s on link %s: %w", stubFromUplink, l.Name, err)
	}
	return changed, nil
}

// takeOff takes the stub off a link that is no uplink any more.
func (t *Table) takeOff(pinned string, l rtnl.Link) (changed bool, err error) {
	if there, err := pin.TakeOffTCX(pinned); err != nil || there {
		return there, err
	}
	if _, ok, err := t.conn.Filter(l.Index, rtnl.Ingress, stubFromUplink); err != nil || !ok {
		return false, err
	}
	return true, t.conn.Do(rtnl.DeleteFilter(l.Index, l.Name, rtnl.Ingress))
}

// uplinkFile is where the attachment to a link is pinned: beside the layouts, for a stub serves all of them.
func (t *Table) uplinkFile(index int) string {
	return filepath.Join(t.folder.Path(), fmt.Sprintf("%s%d", uplinkPrefix, index))
}

const uplinkPrefix = "uplink-"

// inside runs f in the namespace of the table.
func (t *Table) inside(f func() error) error {
	if t.ns == nil {
		return f()
	}
	return t.ns.Do(f)
}
