package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupNS is where a whole machine keeps its cgroup namespace, in its own mounts: the thread that made it has ended.
const cgroupNS = "/run/cgroup.ns"

// hierarchy is one cgroup v1 hierarchy of the machine.
type hierarchy struct {
	dir     string // where the machine has it mounted
	options string // of mount(2): its controllers or its name
}

// howMounted are options of a mount that do not say what is mounted (mount(8), cgroups(7)).
var howMounted = []string{"rw", "ro", "nosuid", "nodev", "noexec", "noatime", "relatime", "xattr", "clone_children", "noprefix"}

// legacyOptions are the words of a v1 mount that say which hierarchy it is; the others tell how it is mounted.
func legacyOptions(all string) string {
	var kept []string
	for _, o := range strings.Split(all, ",") {
		switch {
		case strings.HasPrefix(o, "name="):
			kept = append(kept, "none", o)
		case !slices.Contains(howMounted, o) && !strings.Contains(o, "="):
			kept = append(kept, o)
		}
	}
	return strings.Join(kept, ",")
}

// hierarchies lists the cgroup v1 hierarchies in a mount table. A machine of cgroup2 alone has none.
func hierarchies(table string) []hierarchy {
	var found []hierarchy
	seen := map[string]bool{}
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 4 || f[2] != "cgroup" {
			continue
		}
		h := hierarchy{dir: f[1], options: legacyOptions(f[3])}
		if !seen[h.options] {
			seen[h.options] = true
			found = append(found, h)
		}
	}
	return found
}

// Legacy names a group in every cgroup v1 hierarchy of the machine. The groups need not exist.
func (t *Tree) Legacy(path ...string) (Legacy, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("find the cgroup v1 hierarchies: %w", err)
	}
	var l Legacy
	for _, h := range hierarchies(string(table)) {
		l = append(l, filepath.Join(append([]string{h.dir}, path...)...))
	}
	return l, nil
}

// Legacy is the same group in every cgroup v1 hierarchy, by the paths of the machine.
type Legacy []string

// Sub names the groups below.
func (l Legacy) Sub(name string) Legacy {
	var sub Legacy
	for _, dir := range l {
		sub = append(sub, filepath.Join(dir, name))
	}
	return sub
}

// Remove removes the groups with everything below. Their processes must have ended; groups that do not exist are a success.
func (l Legacy) Remove() error {
	var errs error
	for _, dir := range l {
		errs = errors.Join(errs, removeLegacy(dir))
	}
	return errs
}

// removeLegacy retries for a while: a process leaves its cgroup2 group, for which one can wait, a moment before its v1 groups.
func removeLegacy(dir string) error {
	deadline := time.Now().Add(killPatience)
	for {
		err := removeFolders(dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond) // cgroup v1 tells nobody when a group becomes empty
	}
}

// makeLegacy makes the v1 groups of p. A new cpuset has no processors until it is given some: those of its parent.
func (p Place) makeLegacy() error {
	for _, dir := range p.Legacy {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("machine %s: make cgroup %s: %w", p.Name, dir, err)
		}
		for _, d := range []string{filepath.Dir(dir), dir} {
			if err := inheritCpuset(d); err != nil {
				return fmt.Errorf("machine %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

func inheritCpuset(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller
		}
		if err == nil && strings.TrimSpace(string(have)) == "" {
			have, err = os.ReadFile(filepath.Join(filepath.Dir(dir), file))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, file), have, 0)
			}
		}
		if err != nil {
			return fmt.Errorf("give cgroup %s its %s: %w", dir, file, err)
		}
	}
	return nil
}

// join moves the calling thread to the v1 groups: what it starts is born there.
func (l Legacy) join() error {
	for _, dir := range l {
		if err := os.WriteFile(filepath.Join(dir, "tasks"), []byte("0"), 0); err != nil {
			return fmt.Errorf("join cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// ownCgroups makes the groups of the machine the roots of a cgroup namespace, that of the calling thread.
func (s Spec) ownCgroups() error {
	for _, dir := range s.Legacy {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("join cgroup %s: %w", dir, err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	return nil
}

// wholeCgroups mounts sysfs, and in it every cgroup hierarchy anew: inside a cgroup namespace its root is the machine's own group.
func (s Spec) wholeCgroups() error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	// Covered, the machine's own mounts would stay in the mount table with roots outside of the namespace, and confuse its readers.
	if err := unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("take the machine's cgroups out of sight: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	const root = "/sys/fs/cgroup"
	old := hierarchies(string(table))
	if len(old) == 0 {
		return mountCgroup2(root)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=0755,size=1m"); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	for _, h := range old {
		dir := filepath.Join(root, filepath.Base(h.dir))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		if err := unix.Mount("cgroup", dir, "cgroup", 0, h.options); err != nil {
			return fmt.Errorf("mount cgroup v1 %s: %w", h.options, err)
		}
	}
	return mountCgroup2(filepath.Join(root, "unified"))
}

// mountCgroup2 mounts cgroup2 at dir, moves the process from its root to init and hands all controllers down: a group that gives
// controllers to groups below it may have no processes itself (cgroup-v2.rst, "No Internal Process Constraint").
func mountCgroup2(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := unix.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	leaf := filepath.Join(dir, groupInit)
	err := os.MkdirAll(leaf, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("1"), 0)
	}
	if err != nil {
		return fmt.Errorf("move the holder to its own cgroup: %w", err)
	}
	return delegate(dir)
}

// delegate gives every controller that a cgroup2 group has to the groups below it.
func delegate(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read the controllers of cgroup %s: %w", dir, err)
	}
	for _, c := range strings.Fields(string(have)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("give cgroup controller %s to what is below %s: %w", c, dir, err)
		}
	}
	return nil
}

// keepCgroupNS binds the cgroup namespace of the calling thread to a file, for those who enter later.
func keepCgroupNS() error {
	if err := os.WriteFile(cgroupNS, nil, 0o444); err != nil {
		return fmt.Errorf("make %s: %w", cgroupNS, err)
	}
	return bind("/proc/thread-self/ns/cgroup", cgroupNS)
}

// reap is what the first process of a machine does: it asks for the end of every process whose parent ended before it.
func reap(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	for {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if err != nil && !errors.Is(err, unix.EINTR) || err == nil && pid == 0 {
				break // ECHILD: nobody is left; 0: all that are left live
			}
		}
		select {
		case <-children:
		case <-ctx.Done():
			return nil
		}
	}
}
