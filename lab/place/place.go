// Package place gives each machine of a lab a place of its own: network, mount and UTS namespaces and a cgroup, kept alive by one small holder process.
//
// Nothing of a place is pinned in the machine's own mount table. When the last process of its cgroup ends, the kernel frees
// the namespaces with every link, route and mount in them, which is what makes cleaning up after a crash simple.
package place

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names of the cgroups inside a place.
const (
	groupInit = "init" // the holder
	groupRun  = "run"  // everything else that has no group of its own
)

// Place is one machine of the lab. Its namespaces are those of the one process in its group "init".
type Place struct {
	Name  string
	Group Group

	// Whole makes it a machine that programs take for a real one, a container runtime for example: with processes, IPC and
	// cgroups of its own, and mounts that reach what is mounted below them.
	Whole  bool
	Legacy Legacy // of a whole one: its group in the cgroup v1 hierarchies of the machine, if there are any
}

// ErrGone tells that a place has no holder: it was never made, or was taken down.
var ErrGone = errors.New("its holder process is not running")

// Holder returns the id of the process that keeps the namespaces. Asking the cgroup and not a file makes reuse of a
// process id harmless.
func (p Place) Holder() (int, error) {
	pids, err := p.Group.Sub(groupInit).PIDs()
	if err != nil {
		return 0, err
	}
	if len(pids) == 0 {
		return 0, fmt.Errorf("machine %s: %w; `hexapod lab up` makes it", p.Name, ErrGone)
	}
	return pids[0], nil
}

// entered are the namespaces of a place that a thread enters. The order matters: a path of a network namespace is looked up in the place's own mounts.
var entered = []struct {
	file string
	flag int
}{{"uts", unix.CLONE_NEWUTS}, {"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID}, {"ipc", unix.CLONE_NEWIPC}, {"mnt", unix.CLONE_NEWNS}}

// Do runs fn on a thread inside the place. Sockets and processes that fn makes belong there, wherever they are used later.
// fn must not start goroutines that need the place too.
func (p Place) Do(fn func() error) error { return p.DoIn("", fn) }

// DoIn is Do with another network namespace: the one bound to path in the place's own mount namespace.
func (p Place) DoIn(path string, fn func() error) error {
	pid, err := p.Holder()
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := p.enter(pid, path); err != nil {
			return fmt.Errorf("enter machine %s: %w", p.Name, err)
		}
		return fn()
	})
}

// onThread runs fn on a thread that ends with it: one that changed its namespaces must not run anything else afterwards.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread of a process cannot end before it, and /proc/self shows its namespaces. It is kept busy here
			// until another thread has done the work.
			done <- onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		done <- fn() // never unlocked: the thread ends with its goroutine
	}()
	return <-done
}

// enter brings the calling thread into the place. Programs that it starts are born in the place's cgroups and see its processes.
func (p Place) enter(pid int, netns string) error {
	if err := p.Legacy.join(); err != nil {
		return err
	}
	// setns(2): a thread that shares its root and working directory may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the file system attributes: %w", err)
	}
	for _, ns := range entered {
		if err := setns(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.file), ns.flag); err != nil {
			return err
		}
	}
	if p.Whole {
		if err := setns(cgroupNS, unix.CLONE_NEWCGROUP); err != nil {
			return err
		}
	}
	if netns == "" {
		return nil
	}
	return setns(netns, unix.CLONE_NEWNET)
}

func setns(path string, flag int) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), flag); err != nil {
		return fmt.Errorf("join %s: %w", path, err)
	}
	return nil
}

// Start starts cmd inside the place, in the named cgroup below it (empty: the shared one), in its own session. netns is as in DoIn.
func (p Place) Start(cmd *exec.Cmd, group, netns string) error {
	if group == "" {
		group = groupRun
	}
	g := p.Group.Sub(group)
	if err := g.Make(); err != nil {
		return err
	}
	dir, err := os.Open(g.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", g, err)
	}
	defer dir.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	// Born in the cgroup (clone3, Linux 5.7): there is no moment in which a crash of the lab would lose sight of it.
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	if err := p.DoIn(netns, cmd.Start); err != nil {
		return fmt.Errorf("start %s on %s: %w", filepath.Base(cmd.Path), p.Name, err)
	}
	return nil
}

// Run is Start and Wait.
func (p Place) Run(cmd *exec.Cmd, group, netns string) error {
	if err := p.Start(cmd, group, netns); err != nil {
		return err
	}
	return cmd.Wait()
}

// NewNetNS makes a network namespace as a container runtime does: a new one, bound to path in the place's mount namespace, with lo up.
func (p Place) NewNetNS(path string) error {
	return p.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make the folder of network namespaces: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
		if err != nil {
			return fmt.Errorf("make the file of the network namespace: %w", err)
		}
		f.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace (CONFIG_NET_NS): %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind the network namespace to %s: %w", path, err)
		}
		return LoopbackUp()
	})
}

// DeleteNetNS undoes NewNetNS. One that does not exist is a success.
func (p Place) DeleteNetNS(path string) error {
	return p.Do(func() error {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unbind the network namespace %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the file of the network namespace: %w", err)
		}
		return nil
	})
}

// LoopbackUp brings lo up in the network namespace of the calling thread. The kernel adds ::1 and, by itself, 127.0.0.1.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring lo up: this kernel has no IPv6 (CONFIG_IPV6, ipv6.disable=1): %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("bring lo up: read its flags: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
