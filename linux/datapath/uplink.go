package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

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
	there, err := t.hangs(pinned, l)
	switch {
	case err != nil:
		return false, err
	case there && wanted:
		return false, nil
	case !wanted:
		return t.takeOff(pinned, l, there)
	}
	err = t.inside(func() error { return t.attachTCX(pinned, l) })
	if errors.Is(err, ebpf.ErrNotSupported) {
		return t.ensureFilter(l.Index, l.Name, rtnl.Ingress, stubFromUplink)
	}
	return err == nil, err
}

// hangs tells whether the pinned attachment is that of this link, and runs this release's stub.
func (t *Table) hangs(pinned string, l rtnl.Link) (bool, error) {
	have, err := link.LoadPinnedLink(pinned, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at what hangs on link %s: %w", l.Name, err)
	}
	defer have.Close()
	info, err := have.Info()
	if err != nil {
		return false, fmt.Errorf("look at what hangs on link %s: %w", l.Name, err)
	}
	tcx := info.TCX()
	if tcx == nil || int(tcx.Ifindex) != l.Index { // its link is gone, and the index was given again
		return false, os.Remove(pinned)
	}
	if info.Program != t.ids[stubFromUplink] {
		return true, have.Update(t.stubs[stubFromUplink])
	}
	return true, nil
}

func (t *Table) attachTCX(pinned string, l rtnl.Link) error {
	have, err := link.AttachTCX(link.TCXOptions{
		Interface: l.Index, Program: t.stubs[stubFromUplink], Attach: ebpf.AttachTCXIngress, Anchor: link.Head(),
	})
	if err != nil {
		return fmt.Errorf("hang %s on link %s: %w", stubFromUplink, l.Name, err)
	}
	defer have.Close()
	if err := have.Pin(pinned); err != nil {
		return fmt.Errorf("pin what hangs on link %s: %w", l.Name, err)
	}
	return nil
}

// takeOff takes the stub off a link that is no uplink any more.
func (t *Table) takeOff(pinned string, l rtnl.Link, there bool) (changed bool, err error) {
	if there {
		return true, detach(pinned)
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

// detach takes off what is pinned at path: without it the program would go on for a moment.
func detach(path string) error {
	have, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return err
	}
	return errors.Join(have.Detach(), os.Remove(path), have.Close())
}

// inside runs f in the namespace of the table.
func (t *Table) inside(f func() error) error {
	if t.ns == nil {
		return f()
	}
	return t.ns.Do(f)
}
