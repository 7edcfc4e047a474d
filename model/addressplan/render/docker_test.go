package render

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hexapod.dev/model/addressplan"
)

// shapes are plans for everything that an operator may own.
func shapes(t *testing.T) map[string]addressplan.Plan {
	t.Helper()
	all := map[string]addressplan.Plan{}
	for name, s := range map[string]addressplan.Shape{
		"own-32": {From: pfx("2001:db8::/32")},
		"nibble": {From: pfx("2001:db8::/32"), Nibble: true},
		"own-48": {From: pfx("2001:db8:7::/48")},
		"own-56": {From: pfx("2001:db8:7:100::/56")},
		"eks":    {From: pfx("2001:db8:7:100::/56"), EKS: true},
		"narrow": {From: pfx("2001:db8:7:100::/64"), Lengths: addressplan.Lengths{Rack: 80, Host: 92}},
		"ula":    {From: pfx("fd12:3456:789a::/48"), Sealed: true},
	} {
		s.Name, s.Lab, s.Racks, s.Hosts = name, true, 2, 2
		p, err := addressplan.New(s)
		if err != nil {
			t.Fatal(err)
		}
		p.SpineASN = 4200999999
		all[name] = p
	}
	return all
}

// dockerd is a daemon in a network namespace of its own, with every folder of its own.
type dockerd struct {
	client http.Client
}

// startDocker starts a daemon with a configuration and waits until it says that it listens.
func startDocker(t *testing.T, config string) dockerd {
	t.Helper()
	path := program(t, "dockerd", "docker.io")
	if os.Geteuid() != 0 {
		missing(t, "dockerd needs root")
	}
	dir, err := os.MkdirTemp("", "hexapod-docker") // short: the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("the daemon left something: %v", err)
		}
	})
	socket := filepath.Join(dir, "api.sock")
	cmd := exec.Command(path, "--config-file="+config, "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "--pidfile="+dir+"/pid",
		"--host=unix://"+socket, "--iptables=false", "--storage-driver=vfs")
	// The network is separate, and so are mounts, which it does not all take back. /sys stays the machine's: with another one it would
	// not find the device cgroup.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	var said []string
	listening := false
	for !listening && lines.Scan() {
		said = append(said, lines.Text())
		listening = strings.Contains(lines.Text(), "API listen on")
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && listening {
			t.Errorf("end dockerd: %v", err)
		}
		if _, err := io.Copy(io.Discard, log); err != nil { // it writes while it ends, and closes when it has
			t.Errorf("dockerd: %v", err)
		}
		if err := cmd.Wait(); err != nil && listening {
			t.Errorf("dockerd did not end well: %v", err)
		}
	})
	if !listening {
		t.Fatalf("dockerd does not start with %s:\n%s", config, strings.Join(said, "\n"))
	}
	return dockerd{http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}}
}

func (d dockerd) get(path string, into any) error {
	r, err := d.client.Get("http://docker" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(into)
}

// dockerd has no mode that only checks, so it really starts; its default bridge must have the prefixes of the plan.
func TestDockerStartsWithItsPart(t *testing.T) {
	for name, c := range map[string]struct {
		plan addressplan.Plan
		want []string
	}{
		"dual":    {dualPlan(), []string{"2001:db8:a000:401:d0::/80", "10.4.1.0/24"}},
		"default": {labPlan(), []string{"2001:db8:a000:401:d0::/80"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := mustRender(t, c.plan, Docker, Scope{Host: "h2"}, Options{})
			d := startDocker(t, written(t, files)[0])
			var bridge struct {
				EnableIPv6 bool
				IPAM       struct {
					Config []struct{ Subnet netip.Prefix }
				}
			}
			if err := d.get("/networks/bridge", &bridge); err != nil {
				t.Fatal(err)
			}
			for _, w := range c.want {
				found := false
				for _, have := range bridge.IPAM.Config {
					found = found || have.Subnet == pfx(w)
				}
				if !found || !bridge.EnableIPv6 {
					t.Errorf("docker0 has %+v, want %s", bridge, w)
				}
			}
		})
	}
}

func TestDockerRefusesNonsense(t *testing.T) {
	path := written(t, []File{{"daemon.json", `{"ipv6": true, "fixed-cidr-v6": 5}`}})[0]
	daemon := program(t, "dockerd", "docker.io")
	if os.Geteuid() != 0 {
		missing(t, "dockerd needs root")
	}
	dir := t.TempDir()
	cmd := exec.Command(daemon, "--config-file="+path, "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "--pidfile="+dir+"/pid", "--host=unix://"+dir+"/s", "--iptables=false")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("dockerd takes nonsense, so its yes means nothing:\n%s", out)
	}
}
