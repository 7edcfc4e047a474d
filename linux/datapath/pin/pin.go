// Package pin keeps eBPF maps and programs alive without a process: it pins them in one folder of a BPF file system.
//
// The folder holds one folder per layout version. A release finds its maps in that of its own version; those that a neighbour
// version has and that have the same shape are taken from there and shared, so that an upgrade and the way back lose nothing.
package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Layout is the version of the shapes and meanings of all pinned maps. It grows when a map gets another shape or another
// meaning, and only by one per release.
const Layout = 1

// DefaultRoot is where a BPF file system usually is.
const DefaultRoot = "/sys/fs/bpf"

const (
	folderName   = "hexapod"
	layoutPrefix = "layout-"
	ownMount     = "bpf" // below the run folder
)

// Folder is the folder of one host.
type Folder struct {
	path   string
	layout int
	own    string // where a BPF file system was mounted for this folder alone; empty when it was there
}

// Open opens the folder below root, which is DefaultRoot outside tests. Where root is no BPF file system, one is mounted below
// run, the folder of the agent's sockets, and found there again by the next Open.
func Open(root, run string) (*Folder, error) { return OpenLayout(root, run, Layout) }

// OpenLayout is Open as a release with another layout does it: tests of upgrades are both.
func OpenLayout(root, run string, layout int) (*Folder, error) {
	f := &Folder{layout: layout}
	if !isBPF(root) {
		root = filepath.Join(run, ownMount)
		if err := mount(root); err != nil {
			return nil, err
		}
		f.own = root
	}
	f.path = filepath.Join(root, folderName)
	if err := os.MkdirAll(f.layoutPath(layout), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of pinned maps: %w", err)
	}
	return f, nil
}

// Find is Open without making anything: nil when there is no such folder.
func Find(root, run string) (*Folder, error) {
	own := filepath.Join(run, ownMount)
	f := &Folder{layout: Layout, path: filepath.Join(root, folderName)}
	switch {
	case isBPF(root):
	case isBPF(own):
		f.own, f.path = own, filepath.Join(own, folderName)
	default:
		return nil, nil
	}
	if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) && f.own == "" {
		return nil, nil
	}
	return f, nil
}

func isBPF(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.BPF_FS_MAGIC
}

func mount(dir string) error {
	if isBPF(dir) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a place for pinned maps: %w", err)
	}
	if err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a BPF file system on %s (the kernel needs CONFIG_BPF_SYSCALL, the agent CAP_SYS_ADMIN; "+
			"or mount one on %s before): %w", dir, DefaultRoot, err)
	}
	return nil
}

// Path is the folder's place in the file system.
func (f *Folder) Path() string { return f.path }

func (f *Folder) layoutPath(layout int) string {
	return filepath.Join(f.path, layoutPrefix+strconv.Itoa(layout))
}

// File is the place of one pinned thing of this layout.
func (f *Folder) File(name string) string { return filepath.Join(f.layoutPath(f.layout), name) }

// Remove unpins everything, of every layout, and unmounts what Open has mounted. Programs that still hang on links go on with
// their maps until they are taken off.
func (f *Folder) Remove() error {
	err := os.RemoveAll(f.path)
	if f.own != "" {
		err = errors.Join(err, unix.Unmount(f.own, unix.MNT_DETACH), os.Remove(f.own))
	}
	if err != nil {
		return fmt.Errorf("remove the pinned maps: %w", err)
	}
	return nil
}

// Unpin lets things of these names go, in every layout that this release knows. A missing one is no error.
func (f *Folder) Unpin(names ...string) error {
	var errs []error
	for _, layout := range []int{f.layout - 1, f.layout, f.layout + 1} {
		for _, name := range names {
			if err := os.Remove(filepath.Join(f.layoutPath(layout), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("unpin %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Forget removes layouts older than the neighbour of this one.
func (f *Folder) Forget() error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return fmt.Errorf("list the pinned maps: %w", err)
	}
	for _, e := range entries {
		n, ok := strings.CutPrefix(e.Name(), layoutPrefix)
		if v, bad := strconv.Atoi(n); ok && bad == nil && v < f.layout-1 {
			err = errors.Join(err, os.RemoveAll(filepath.Join(f.path, e.Name())))
		}
	}
	return err
}

// Program returns a pinned program, or fs.ErrNotExist.
func (f *Folder) Program(name string) (*ebpf.Program, error) {
	p, err := ebpf.LoadPinnedProgram(f.File(name), nil)
	if err != nil {
		return nil, fmt.Errorf("pinned program %s: %w", name, err)
	}
	return p, nil
}

// PinProgram pins a program in place of whatever has that name.
func (f *Folder) PinProgram(name string, p *ebpf.Program) error {
	// A pin cannot be overwritten: the new one is made beside and moved over the old.
	beside := f.File(name + "_new") // a BPF file system takes no dots
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pin program %s: %w", name, err)
	}
	clone, err := p.Clone() // Pin remembers the place and would refuse another one
	if err != nil {
		return fmt.Errorf("pin program %s: %w", name, err)
	}
	defer clone.Close()
	if err := clone.Pin(beside); err != nil {
		return fmt.Errorf("pin program %s: %w", name, err)
	}
	if err := os.Rename(beside, f.File(name)); err != nil {
		return fmt.Errorf("pin program %s: %w", name, err)
	}
	return nil
}
