package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hexapod.dev/agent/local"
)

// agentPatience bounds the start of an agent; it needs well under a second.
const agentPatience = 30 * time.Second

const groupAgent = "agent"

// groupChildren is where what an agent started stays when it is killed.
const groupChildren = "children"

// StartAgent starts the agent of a host and returns when it says that it serves (sd_notify(3)).
func (l *Lab) StartAgent(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, agentPatience, fmt.Errorf("not ready within %v", agentPatience))
	defer cancel()
	notify := l.folder(host, "run/notify")
	if err := os.Remove(notify); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("agent of %s: %w", host, err)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("agent of %s: listen for its readiness: %w", host, err)
	}
	defer socket.Close()
	ended, err := l.launchAgent(host)
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() { ready <- awaitReady(socket) }() // ends at the latest when the socket is closed
	select {
	case err = <-ready:
	case err = <-ended:
		err = fmt.Errorf("ended: %w", err)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("agent of %s: %w; its last words:\n%s", host, err, l.lastWords(host))
	}
	return nil
}

// launchAgent starts the process and returns the channel that tells its end.
func (l *Lab) launchAgent(host string) (<-chan error, error) {
	log, err := os.OpenFile(l.folder(host, "agent.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("agent of %s: %w", host, err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(l.program(host), "agent", "--config", "/etc/hexapod", "--host", host)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(l.environ(), "NOTIFY_SOCKET=/run/notify")
	if err := l.place(host).Start(cmd, groupAgent, ""); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait() // also reaps an agent that is killed later, while this process lives
		if err == nil {
			err = errors.New("exit status 0")
		}
		ended <- err
	}()
	return ended, nil
}

func awaitReady(socket *net.UnixConn) error {
	buf := make([]byte, 4096)
	for {
		n, err := socket.Read(buf)
		if err != nil {
			return fmt.Errorf("wait for READY=1: %w", err)
		}
		for line := range bytes.Lines(buf[:n]) {
			if strings.TrimSpace(string(line)) == "READY=1" {
				return nil
			}
		}
	}
}

// lastWords returns the end of an agent's log.
func (l *Lab) lastWords(host string) string {
	text, err := os.ReadFile(l.folder(host, "agent.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// KillAgent ends the agent of a host with SIGKILL and returns when it is gone. Its cgroup goes too: a kernel may still kill
// what is born in a group that was killed once.
func (l *Lab) KillAgent(host string) error {
	agents, children, err := l.agentPIDs(host)
	if err != nil {
		return err
	}
	if len(agents) == 0 {
		return fmt.Errorf("agent of %s: is not running", host)
	}
	g := l.place(host).Group
	if len(children) > 0 { // they outlive their agent, as under a service manager that ends the agent alone (KillMode=process)
		if err := g.Sub(groupChildren).Take(children); err != nil {
			return err
		}
	}
	return g.Sub(groupAgent).Remove()
}

// HangAgent lets the agent of a host and its children do nothing any more, as when they hang, or lets them go on.
func (l *Lab) HangAgent(host string, hang bool) error {
	g := l.place(host).Group
	for _, name := range []string{groupAgent, groupChildren} {
		if sub := g.Sub(name); sub.Exists() {
			if err := sub.Freeze(hang); err != nil {
				return err
			}
		}
	}
	return nil
}

// DestroyHost takes a host away as a machine that burns: all that runs there is killed, and its namespaces go with every link in them. What others
// are configured with still names it.
func (l *Lab) DestroyHost(host string) error {
	if _, ok := l.host(host); !ok {
		return fmt.Errorf("lab %s has no host %s", l.name, host)
	}
	return l.place(host).Group.Remove()
}

// upgraded is the program that a host got by an upgrade, in the folder that it sees as /var/lib/hexapod.
const upgraded = "var/upgraded"

// program is what the agent of a host runs: that of the lab, or what UpgradeAgent put in its place.
func (l *Lab) program(host string) string {
	if _, err := os.Stat(l.folder(host, upgraded)); err == nil {
		return "/var/lib/hexapod/" + filepath.Base(upgraded)
	}
	return filepath.Join(l.state.Bin, "hexapod")
}

// UpgradeAgent gives a host another file of the program, as an upgrade does, asks its agent to end and starts the next one. The file has the same
// content: agent and children tell builds apart by their files.
func (l *Lab) UpgradeAgent(ctx context.Context, host string) error {
	return l.ReplaceAgent(ctx, host, filepath.Join(l.state.Bin, "hexapod"))
}

// ReplaceAgent is UpgradeAgent to the program of another build, or back from it.
func (l *Lab) ReplaceAgent(ctx context.Context, host, program string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("upgrade the agent of %s: %w", host, err)
	}
	next := l.folder(host, upgraded)
	if err := os.WriteFile(next+".next", text, 0o755); err != nil {
		return fmt.Errorf("upgrade the agent of %s: %w", host, err)
	}
	if err := os.Rename(next+".next", next); err != nil {
		return fmt.Errorf("upgrade the agent of %s: %w", host, err)
	}
	agents, children, err := l.agentPIDs(host)
	if err != nil {
		return err
	}
	g := l.place(host).Group
	if len(children) > 0 {
		if err := g.Sub(groupChildren).Take(children); err != nil {
			return err
		}
	}
	for _, pid := range agents {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("agent of %s: %w", host, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		runs, err := l.AgentRuns(host)
		if err != nil {
			return err
		}
		if !runs {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("agent of %s: does not end after SIGTERM: %w", host, context.Cause(ctx))
		case <-again.C:
		}
	}
	if err := g.Sub(groupAgent).Remove(); err != nil {
		return err
	}
	return l.StartAgent(ctx, host)
}

// endPatience is how long an agent that was asked to end, and the next one until it is ready, may take together.
const endPatience = 2 * time.Minute

// agentPIDs tells the processes of a host's agent: itself, and its children without privileges.
func (l *Lab) agentPIDs(host string) (agents, children []int, err error) {
	pids, err := l.place(host).Group.Sub(groupAgent).PIDs()
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		switch {
		case err != nil: // it has just ended
		case bytes.HasPrefix(line, []byte("hexapod\x00child\x00")):
			children = append(children, pid)
		default:
			agents = append(agents, pid)
		}
	}
	return agents, children, err
}

// AgentRuns tells whether the agent process of a host exists.
func (l *Lab) AgentRuns(host string) (bool, error) {
	pids, _, err := l.agentPIDs(host)
	return len(pids) > 0, err
}

// donePatience is how long an agent may still be busy with a change when it is looked at, on a machine with other work too. Its status
// answers meanwhile.
const donePatience = 20 * time.Second

// checkAgent is nil when the agent of a host runs and says that everything is done.
func (l *Lab) checkAgent(ctx context.Context, host string) error {
	runs, err := l.AgentRuns(host)
	if err == nil && !runs {
		err = errors.New("is not running")
	}
	if err != nil {
		return fmt.Errorf("agent of %s: %w", host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, donePatience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	client := local.NewClient(l.folder(host, "run/hexapod"))
	for {
		status, err := client.Status(ctx)
		left := status.NotDone()
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-again.C:
			continue
		case <-ctx.Done():
		}
		if err != nil {
			return fmt.Errorf("agent of %s: %w", host, err)
		}
		return fmt.Errorf("agent of %s: %s %s is %s: %s", host, left[0].Kind, left[0].Name, left[0].State, left[0].Why)
	}
}

// environ is the environment of a program in the lab: the programs under test come first on the path.
func (l *Lab) environ() []string {
	return []string{"PATH=" + l.state.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM")}
}
