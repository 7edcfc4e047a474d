package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killPatience bounds the wait for processes that were killed. The kernel needs milliseconds, seconds where the machine is busy and
// a thousand sockets are to be closed; a process stuck in a device needs us to say so.
const killPatience = time.Minute

// Tree is the cgroup2 hierarchy of the machine, wherever it is mounted.
type Tree struct {
	root string
	fd   int // of the private mount, -1 when the machine has one
}

// OpenTree finds cgroup2 in the mount table. Where nobody mounted it, it makes a mount of its own that is attached to no
// folder (fsmount(2)), so that nothing is left of it when the process ends.
func OpenTree() (*Tree, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("find cgroup2 in the mount table: %w", err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == "cgroup2" && slices.Contains(strings.Split(f[3], ","), "rw") {
			return &Tree{root: f[1], fd: -1}, nil
		}
	}
	fd, err := detachedCgroup2()
	if err != nil {
		return nil, fmt.Errorf("cgroup2: not mounted here, and mounting it failed (CONFIG_CGROUPS, root): %w", err)
	}
	return &Tree{root: fmt.Sprintf("/proc/self/fd/%d", fd), fd: fd}, nil
}

func detachedCgroup2() (int, error) {
	fsfd, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fsfd)
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return -1, err
	}
	return unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
}

// Close gives up the private mount, if there is one.
func (t *Tree) Close() error {
	if t.fd < 0 {
		return nil
	}
	return unix.Close(t.fd)
}

// Group names a cgroup by its path below the root of the hierarchy. It need not exist.
func (t *Tree) Group(path ...string) Group {
	rel := filepath.Join(path...)
	return Group{rel: rel, dir: filepath.Join(t.root, rel)}
}

// Group is one cgroup2 group and everything below it.
type Group struct{ rel, dir string }

func (g Group) String() string { return "cgroup " + g.rel }

// Sub names a cgroup below g.
func (g Group) Sub(name string) Group {
	return Group{filepath.Join(g.rel, name), filepath.Join(g.dir, name)}
}

// Exists tells whether the kernel has g.
func (g Group) Exists() bool {
	_, err := os.Stat(g.dir)
	return err == nil
}

// Make creates g, and is content with one that is there.
func (g Group) Make() error {
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", g, err)
	}
	return nil
}

// PIDs lists the processes in g itself. A group that does not exist has none.
func (g Group) PIDs() ([]int, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", g, err)
	}
	var pids []int
	for _, f := range strings.Fields(string(text)) {
		var pid int
		if _, err := fmt.Sscan(f, &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Kill ends every process in g and below with SIGKILL, also those being born meanwhile (cgroup.kill, Linux 5.14), and returns
// when none is left. A group that does not exist is a success.
func (g Group) Kill() error {
	err := os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) && !g.Exists() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill the processes of %s (cgroup.kill needs Linux 5.14): %w", g, err)
	}
	return g.awaitEmpty()
}

// Freeze stops every process in g and below, or lets them go on, and returns when that is so (cgroup.freeze, Linux 5.2).
func (g Group) Freeze(on bool) error {
	value, want := "0", "frozen 0"
	if on {
		value, want = "1", "frozen 1"
	}
	if err := os.WriteFile(filepath.Join(g.dir, "cgroup.freeze"), []byte(value), 0); err != nil {
		return fmt.Errorf("freeze the processes of %s: %w", g, err)
	}
	return g.await(want, "the freezer")
}

// Take makes g and moves processes into it.
func (g Group) Take(pids []int) error {
	if err := g.Make(); err != nil {
		return err
	}
	for _, pid := range pids {
		err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		if err != nil && !errors.Is(err, unix.ESRCH) { // one that has just ended needs no place
			return fmt.Errorf("move process %d into %s: %w", pid, g, err)
		}
	}
	return nil
}

// awaitEmpty sleeps until no process is left.
func (g Group) awaitEmpty() error { return g.await("populated 0", "SIGKILL") }

// await sleeps until cgroup.events says a line; the kernel signals a change as POLLPRI. What was done names what should lead there.
func (g Group) await(line, done string) error {
	deadline := time.Now().Add(killPatience)
	f, err := os.Open(filepath.Join(g.dir, "cgroup.events"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", g, err)
	}
	defer f.Close()
	buf := make([]byte, 256)
	for {
		n, err := f.ReadAt(buf, 0)
		if n == 0 && err != nil {
			return nil // ENODEV: the group was removed under us
		}
		if strings.Contains(string(buf[:n]), line) {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			pids, _ := g.PIDs()
			return fmt.Errorf("%s, with processes %v, did not come to %q within %v of %s", g, pids, line, killPatience, done)
		}
		poll := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(poll, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for %s to come to %q: %w", g, line, err)
		}
	}
}

// Remove kills what runs in g and removes it with everything below. A group that does not exist is a success.
func (g Group) Remove() error {
	if err := g.Kill(); err != nil {
		return err
	}
	if err := removeFolders(g.dir); err != nil {
		return fmt.Errorf("remove %s: %w", g, err)
	}
	return nil
}

// removeFolders removes a group and all below it, whose processes have ended. The files of a group go with it.
func removeFolders(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil && d.IsDir():
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list the cgroups: %w", err)
	}
	slices.Reverse(dirs) // children before parents
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
