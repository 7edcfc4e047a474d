package place

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spec is what a holder sets up inside its place before it reports ready.
type Spec struct {
	Name   string `json:"name"`             // host name
	Run    string `json:"run"`              // folder shown as /run
	Binds  []Bind `json:"binds"`            // other folders, and files, of its own
	Cgroup string `json:"cgroup"`           // path below the cgroup2 root, shown as /sys/fs/cgroup
	Whole  bool   `json:"whole,omitempty"`  // as in Place
	Legacy Legacy `json:"legacy,omitempty"` // as in Place
}

// Bind shows the folder From under the name To.
type Bind struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// ready is the line by which a holder says that its place can be used; any other line is an error in words.
const ready = "ready"

// Make starts the holder of p: self, the arguments that lead the program to Hold, and what to set up. It returns when the place can be used.
func (p Place) Make(ctx context.Context, self string, args []string, spec Spec) error {
	g := p.Group.Sub(groupInit)
	if p.Whole {
		g = p.Group // the root of its cgroup namespace; the holder moves to init afterwards
		if err := p.makeLegacy(); err != nil {
			return err
		}
	}
	if err := g.Make(); err != nil {
		return err
	}
	dir, err := os.Open(g.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", g, err)
	}
	defer dir.Close()
	spec.Name, spec.Cgroup, spec.Whole, spec.Legacy = p.Name, p.Group.rel, p.Whole, p.Legacy
	input, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("machine %s: %w", p.Name, err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("machine %s: %w", p.Name, err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
		UseCgroupFD: true,
		CgroupFD:    int(dir.Fd()),
	}
	if p.Whole {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWIPC
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the holder of machine %s (needs root, network and mount namespaces): %w", p.Name, err)
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		answer <- strings.TrimSpace(line)
		_ = cmd.Wait() // reaps it when the lab is taken down by this same process
	}()
	select {
	case line := <-answer:
		switch line {
		case ready:
			return nil
		case "":
			return fmt.Errorf("machine %s: its holder ended without a word", p.Name)
		}
		return fmt.Errorf("machine %s: %s", p.Name, line)
	case <-ctx.Done():
		return fmt.Errorf("wait for the holder of machine %s: %w", p.Name, context.Cause(ctx))
	}
}

// Hold is the holder: it reads its Spec from in, arranges the place it was born in, reports to out and stays until ctx ends.
// It does nothing else, because it has to survive everything that a scenario does to the machine.
func Hold(ctx context.Context, in io.Reader, out io.WriteCloser) error {
	var spec Spec
	err := json.NewDecoder(in).Decode(&spec)
	if err == nil {
		err = onThread(spec.arrange) // a cgroup namespace belongs to one thread
	}
	if err != nil {
		fmt.Fprintln(out, strings.ReplaceAll(err.Error(), "\n", "; "))
		return err
	}
	fmt.Fprintln(out, ready)
	if err := out.Close(); err != nil {
		return fmt.Errorf("close the report: %w", err)
	}
	if spec.Whole {
		return reap(ctx)
	}
	<-ctx.Done()
	return nil
}

func (s Spec) arrange() error {
	// Outside a namespace of its own, private mounts would be the machine's.
	if err := s.awayFromMachine(); err != nil {
		return err
	}
	if s.Whole {
		if err := s.ownCgroups(); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return fmt.Errorf("set the host name %s: %w", s.Name, err)
	}
	if err := s.mounts(); err != nil {
		return err
	}
	if s.Whole {
		if err := keepCgroupNS(); err != nil {
			return err
		}
		// What a runtime mounts for a container with propagation has to arrive there.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return fmt.Errorf("share the mounts: %w", err)
		}
	}
	return LoopbackUp()
}

// awayFromMachine refuses to arrange anything in the namespaces of the machine.
func (s Spec) awayFromMachine() error {
	failed := errors.New("the holder must be started by the lab, in namespaces of its own")
	if s.Whole {
		if os.Getpid() != 1 {
			return failed
		}
		return nil
	}
	mine, err1 := os.Readlink("/proc/self/ns/mnt")
	parent, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("look at the mount namespace: %w", err)
	}
	if mine == parent {
		return failed
	}
	return nil
}
