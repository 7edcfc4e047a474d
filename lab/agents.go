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
	cmd := exec.Command(filepath.Join(l.state.Bin, "hexapod"), "agent", "--config", "/etc/hexapod", "--host", host)
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
