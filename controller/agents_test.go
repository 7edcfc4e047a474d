//go:build cluster

package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/test/cnitest"
)

// programs are the real agent and the real plugin.
type programs struct{ dir string }

func buildPrograms(t testing.TB) programs {
	t.Helper()
	p := programs{t.TempDir()}
	for _, pkg := range []string{"hexapod.dev/cmd/hexapod", "hexapod.dev/cmd/hexapod-cni"} {
		if _, err := cnitest.Build(t.Context(), pkg, p.dir); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

// realHost is a host with an agent process in a network namespace of its own, and what a runtime would be there.
type realHost struct {
	k       *cluster
	name    string
	ns      *netns.NS
	dir     string
	args    []string // of the agent
	cmd     *exec.Cmd
	runtime *cnitest.Driver
	log     bytes.Buffer

	mu   sync.Mutex
	has  map[netip.Addr]string       // the label of the pod of each address that was given
	ends map[string]cnitest.Endpoint // of each pod
}

// realHost makes the n-th host, whose only way out leads to the API server, and starts its agent.
func (k *cluster) realHost(p programs, name string, n int) *realHost {
	k.t.Helper()
	h := &realHost{k: k, name: name, ns: netnstest.New(k.t), dir: k.t.TempDir(), has: map[netip.Addr]string{}, ends: map[string]cnitest.Endpoint{}}
	k.t.Cleanup(func() { _ = syscall.Unmount(filepath.Join(h.dir, "run", "bpf"), syscall.MNT_DETACH) }) // EINVAL: there is none
	lines := fmt.Sprintf("link set lo up\nlink add eth0 type veth peer name far\nlink set far up\naddress add %s/64 dev eth0 nodad\nlink set eth0 up\n", hostAddress(n))
	netnstest.Do(k.t, h.ns, func() error {
		ip := exec.Command("ip", "-batch", "-")
		ip.Stdin = strings.NewReader(lines)
		if out, err := ip.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	h.reachAPI()
	config := cnitest.Conflist("1.0.0", "pods", map[string]any{"type": "hexapod-cni", "runDir": filepath.Join(h.dir, "run"), "stateDir": filepath.Join(h.dir, "state")})
	var err error
	if h.runtime, err = cnitest.New(config, filepath.Join(h.dir, "cache"), p.dir); err != nil {
		k.t.Fatal(err)
	}
	h.args = []string{p.path("hexapod"), "agent", "--kube", "--kubeconfig", k.Kubeconfig("admin-token"), "--host", name,
		"--run", filepath.Join(h.dir, "run"), "--state", filepath.Join(h.dir, "state"), "--config", filepath.Join(h.dir, "secrets")}
	h.start()
	k.t.Cleanup(func() {
		h.kill()
		if k.t.Failed() {
			k.t.Logf("agent of %s: %s", name, tail(h.log.String()))
		}
	})
	return h
}

// start starts the agent.
func (h *realHost) start() {
	h.k.t.Helper()
	h.cmd = exec.Command(h.args[0], h.args[1:]...)
	h.cmd.Stderr = &h.log
	netnstest.Do(h.k.t, h.ns, h.cmd.Start)
}

// kill ends the agent without a word.
func (h *realHost) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait() // it was killed
}

func hostAddress(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("3fff:f::%x", n+1)) }

func tail(text string) string { return text[max(0, len(text)-1500):] }

// reachAPI makes the address of the API server one that the host reaches: each connection inside is one outside.
func (h *realHost) reachAPI() {
	h.k.t.Helper()
	server, err := url.Parse(h.k.Config("admin-token").Host)
	if err != nil {
		h.k.t.Fatal(err)
	}
	var inside net.Listener
	netnstest.Do(h.k.t, h.ns, func() (err error) {
		inside, err = net.Listen("tcp", server.Host)
		return err
	})
	h.k.t.Cleanup(func() { inside.Close() })
	go func() {
		for {
			from, err := inside.Accept()
			if err != nil {
				return
			}
			go relay(from, server.Host)
		}
	}()
}

// relay carries bytes both ways until one side has ended.
func relay(from net.Conn, to string) {
	defer from.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return // the API server is away
	}
	defer out.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, out}, {out, from}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // either end may go away at any time
			done <- struct{}{}
		}()
	}
	<-done
}

// add gives a pod of this host its network as a runtime does, again while the agent says that it is too early.
func (h *realHost) add(ctx context.Context, pod, label string) error {
	ns, err := netns.Anonymous()
	if err != nil {
		return err
	}
	h.k.t.Cleanup(func() { ns.Close() })
	e := cnitest.Endpoint{Container: "c-" + pod, Interface: "eth0", NetNS: ns.Path(), Args: [][2]string{{"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", pod}}}
	const tryAgain = 11 // CNI: the same call may succeed later
	for {
		got, err := h.runtime.Add(ctx, e)
		var refused *types.Error
		if errors.As(err, &refused) && refused.Code == tryAgain && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("ADD of %s on %s: %w", pod, h.name, err)
		}
		result, err := current.NewResultFromResult(got)
		if err != nil || len(result.IPs) != 1 {
			return fmt.Errorf("ADD of %s on %s: %v, %w", pod, h.name, got, err)
		}
		addr, ok := netip.AddrFromSlice(result.IPs[0].Address.IP)
		if !ok {
			return fmt.Errorf("ADD of %s on %s: address %s", pod, h.name, result.IPs[0].Address)
		}
		h.mu.Lock()
		h.has[addr], h.ends[pod] = label, e
		h.mu.Unlock()
		return nil
	}
}

// del takes the network of a pod away, if it has one.
func (h *realHost) del(ctx context.Context, pod string) error {
	h.mu.Lock()
	e, ok := h.ends[pod]
	delete(h.ends, pod)
	h.mu.Unlock()
	if !ok {
		return nil
	}
	return h.runtime.Del(ctx, e)
}

// memory reads a line of the status of the agent's process, in megabytes.
func (h *realHost) memory(b testing.TB, line string) float64 {
	return process{cmd: h.cmd}.memory(b, line)
}

// cpu is the work of processors for the agent's process since it was started, in seconds.
func (h *realHost) cpu() float64 {
	h.k.t.Helper()
	d, err := kubetest.CPU(h.cmd.Process.Pid)
	if err != nil {
		h.k.t.Fatal(err)
	}
	return d.Seconds()
}
