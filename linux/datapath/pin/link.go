package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// AttachCgroup makes p the program that hangs on the cgroup of a folder under the pinned link called name. A link that is there
// already, in this layout or a neighbour's, goes on with p from one call to the next; nothing is missed between.
func (f *Folder) AttachCgroup(name string, p *ebpf.Program, attach ebpf.AttachType, cgroup string) error {
	var st unix.Stat_t
	if err := unix.Stat(cgroup, &st); err != nil {
		return fmt.Errorf("cgroup %s: %w", cgroup, err)
	}
	l, pinned, err := f.link(name, st.Ino)
	if err == nil {
		err = l.Update(p)
	}
	switch {
	case err == nil && pinned:
		return l.Close()
	case err == nil: // the link of a neighbour layout: both releases change it in place
		return errors.Join(f.pinLink(name, l), l.Close())
	case l != nil:
		err = errors.Join(err, l.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOLINK) { // ENOLINK: its cgroup is gone
		return fmt.Errorf("change link %s: %w", name, err)
	}
	made, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: attach, Program: p})
	if err != nil {
		return fmt.Errorf("hang %s on cgroup %s: %w", name, cgroup, err)
	}
	return errors.Join(f.pinLink(name, made), made.Close())
}

// link opens the pinned link of name, if it hangs on the cgroup of that number (its inode). One that hangs elsewhere is taken off.
// pinned tells whether it was found in this layout. Without one the error is fs.ErrNotExist.
func (f *Folder) link(name string, cgroup uint64) (l link.Link, pinned bool, err error) {
	for _, layout := range []int{f.layout, f.layout - 1, f.layout + 1} {
		path := filepath.Join(f.layoutPath(layout), name)
		l, err := link.LoadPinnedLink(path, nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("pinned link %s: %w", name, err)
		}
		info, err := l.Info()
		if err != nil {
			return nil, false, errors.Join(fmt.Errorf("pinned link %s: %w", name, err), l.Close())
		}
		if c := info.Cgroup(); c != nil && c.CgroupId == cgroup {
			return l, layout == f.layout, nil
		}
		if err := errors.Join(l.Detach(), os.Remove(path), l.Close()); err != nil {
			return nil, false, fmt.Errorf("take link %s off another cgroup: %w", name, err)
		}
	}
	return nil, false, fs.ErrNotExist
}

// pinLink pins l in place of whatever has that name.
func (f *Folder) pinLink(name string, l link.Link) error {
	if err := os.Remove(f.File(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pin link %s: %w", name, err)
	}
	if err := l.Pin(f.File(name)); err != nil {
		return fmt.Errorf("pin link %s: %w", name, err)
	}
	return nil
}

// Detach takes the program of the link of name off, in every layout that this release knows. It is off when Detach returns:
// an unpinned link alone goes some time later.
func (f *Folder) Detach(name string) error {
	var errs []error
	for _, layout := range []int{f.layout - 1, f.layout, f.layout + 1} {
		path := filepath.Join(f.layoutPath(layout), name)
		l, err := link.LoadPinnedLink(path, nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(l.Detach(), os.Remove(path), l.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("take link %s off: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
