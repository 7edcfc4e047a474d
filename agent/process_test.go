package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hexapod.dev/agent"
	"hexapod.dev/edge/cni"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/test/cnitest"
)

// built is the folder with the two real programs, made once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "agent-test-")
	if err != nil {
		return "", err
	}
	for _, pkg := range []string{"hexapod.dev/cmd/hexapod", "hexapod.dev/cmd/hexapod-cni"} {
		if _, err := cnitest.Build(context.Background(), pkg, dir); err != nil {
			return dir, err
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	netnstest.SideBySide(6)
	code := m.Run()
	if dir, _ := built(); dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// program returns the path of a real program.
func (h *host) program(name string) string {
	h.t.Helper()
	dir, err := built()
	if err != nil {
		h.t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// process is an agent in a process of its own, in the namespace of a host.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
}

// spawn starts one and returns when it says READY=1, as to a service manager.
func (h *host) spawn() *process {
	h.t.Helper()
	socket := filepath.Join(h.dir, "notify")
	os.Remove(socket)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		h.t.Fatal(err)
	}
	defer manager.Close()
	cmd := exec.Command(h.program("hexapod"), "agent", "--config", h.conf(), "--host", h.hostName(), "--state", h.state(), "--run", h.run())
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	cmd.Stderr = h.log
	netnstest.Do(h.t, h.ns, cmd.Start)
	p := &process{h.t, cmd}
	h.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	if err := manager.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		h.t.Fatal(err)
	}
	said := make([]byte, 64)
	if n, err := manager.Read(said); err != nil || string(said[:n]) != "READY=1" {
		h.t.Fatalf("the agent's process said %q to the service manager, %v; want READY=1", said[:n], err)
	}
	return p
}

// end sends a signal and waits for the process; a second call does nothing.
func (p *process) end(s os.Signal) {
	p.t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
	err := p.cmd.Wait()
	if s == syscall.SIGTERM && err != nil {
		p.t.Errorf("the agent ended with: %v", err)
	}
}

// plugin executes the real plugin as a runtime does.
func (h *host) plugin(command string, r cni.Request) (address string, err error) {
	config := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net1","type":"hexapod-cni","runDir":%q,"stateDir":%q}`, h.run(), h.state())
	cmd := exec.Command(h.program("hexapod-cni"))
	cmd.Stdin = strings.NewReader(config)
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + r.Key.Container, "CNI_IFNAME=" + r.Key.Interface,
		"CNI_NETNS=" + r.NetNS, "CNI_PATH=/", "CNI_ARGS=K8S_POD_NAMESPACE=" + r.Namespace + ";K8S_POD_NAME=" + r.Name}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, out)
	}
	if command != "ADD" {
		return "", nil
	}
	var result struct{ IPs []struct{ Address string } }
	if err := json.Unmarshal(out, &result); err != nil || len(result.IPs) != 1 {
		return "", fmt.Errorf("ADD: %w: %s", err, out)
	}
	return strings.TrimSuffix(result.IPs[0].Address, "/128"), nil
}

// The agent is killed at 20 random points of an ADD. What the journal or an answer gave the endpoint stays its address.
func TestKilledInTheMiddleOfAdd(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.spawn()
	before := h.ip()
	var between, answered int
	for i := range 20 {
		r := h.endpoint(fmt.Sprintf("e%d", i))
		type answer struct {
			addr string
			err  error
		}
		first := make(chan answer, 1)
		go func() {
			addr, err := h.plugin("ADD", r)
			first <- answer{addr, err}
		}()
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond) // the point is the random moment itself
		p.end(syscall.SIGKILL)
		p = h.spawn()
		var known string
		list, err := h.client().Endpoints(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Container == r.Key.Container {
				known = e.Addrs[0].String()
				between++
			}
		}
		got := <-first
		if got.err == nil {
			answered++
		}
		again, err := h.plugin("ADD", r)
		if err != nil {
			t.Fatalf("retried ADD: %v", err)
		}
		if known != "" && again != known || got.err == nil && again != got.addr {
			t.Errorf("retried ADD gave %s; the journal had %q, the first answer %q (%v)", again, known, got.addr, got.err)
		}
		h.reaches(again)
		if _, err := h.plugin("DEL", r); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("of 20 kills, %d found the endpoint in the journal at the restart, %d first ADDs were answered", between, answered)
	h.isAsBefore(before)
	p.end(syscall.SIGTERM)
}

// The end of the agent changes nothing, and --cleanup removes all of it, but not under living endpoints.
func TestEndAndCleanup(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	empty := h.ip()
	p := h.spawn()
	r := h.endpoint("web")
	addr, err := h.plugin("ADD", r)
	if err != nil {
		t.Fatal(err)
	}
	h.whole(r.Key)
	serving := h.ip()
	cleanup := func(flags ...string) (string, error) {
		args := append([]string{"agent", "--cleanup", "--host", "h1", "--state", h.state(), "--run", h.run()}, flags...)
		var out []byte
		var err error
		netnstest.Do(t, h.ns, func() error { out, err = exec.Command(h.program("hexapod"), args...).CombinedOutput(); return nil })
		return string(out), err
	}
	p.end(syscall.SIGTERM)
	if now := h.ip(); now != serving {
		t.Errorf("the end of the agent changed the host:\n%s\nbefore:\n%s", now, serving)
	}
	h.reaches(addr)
	if out, err := cleanup(); err == nil || !strings.Contains(out, "1 endpoints are living (web/eth0)") {
		t.Errorf("--cleanup with a living endpoint: %v\n%s", err, out)
	}
	if now := h.ip(); now != serving {
		t.Errorf("a refused --cleanup changed the host:\n%s", now)
	}
	if out, err := cleanup("--force"); err != nil {
		t.Fatalf("--cleanup --force: %v\n%s", err, out)
	}
	if now := h.ip(); now != empty {
		t.Errorf("after --cleanup --force:\n%s\nwant as before the first agent:\n%s", now, empty)
	}
	h.spawn()
	if list, err := h.client().Endpoints(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("the next agent brought back %+v, %v", list, err)
	}
}

func TestOneAgentPerRunFolder(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.spawn()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // or it would wait some seconds for a predecessor that is being killed
	err := agent.New(h.options()).Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "another agent runs") {
		t.Errorf("a second agent: %v, want to be told of the first", err)
	}
}
