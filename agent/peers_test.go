package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
)

// newRoutedHost makes a host whose uplink up0 leads to a router, a namespace with the link rt0, and gives it the configuration of
// text.
func newRoutedHost(t testing.TB, text string) (h *host, router *netns.NS) {
	t.Helper()
	h = &host{t: t, ns: netnstest.New(t), dir: t.TempDir(), log: &lines{}}
	h.unmountAfter()
	router = netnstest.New(t)
	netnstest.Run(t, h.ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0")
	netnstest.Run(t, router, "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1")
	for _, ns := range []*netns.NS{h.ns, router} {
		netnstest.Run(t, ns, "ip link set lo up")
	}
	netnstest.Connect(t, netnstest.End{NS: router, Name: "rt0"}, netnstest.End{NS: h.ns, Name: "up0"})
	until(t, "both ends of the uplink have a link-local address", func() bool {
		all := netnstest.Run(t, h.ns, "ip -6 addr show dev up0 -tentative") + netnstest.Run(t, router, "ip -6 addr show dev rt0 -tentative")
		return strings.Count(all, "scope link") == 2
	})
	h.configure(text)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the agent:\n%s", h.log)
		}
	})
	return h, router
}

// peer is a program of Debian that runs beside.
type peer struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *lines
	done chan struct{}
}

// startPeer starts a program inside ns. It ends with the test at the latest, and its log is shown when the test fails.
func startPeer(t testing.TB, ns *netns.NS, env []string, words ...string) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.CommandContext(context.Background(), words[0], words[1:]...), log: &lines{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	netnstest.Do(t, ns, p.cmd.Start)
	go func() {
		_ = p.cmd.Wait() // most end by a signal of ours
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(words[0]), p.log)
		}
	})
	return p
}

// kill ends the program and what it started, in the hard way: nobody is told.
func (p *peer) kill() {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Error(err)
	}
	<-p.done
}

// says waits until the program has written something.
func (p *peer) says(what string) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("%s says %q", filepath.Base(p.cmd.Path), what), func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("%s ended:\n%s", p.cmd.Path, p.log)
		default:
		}
		return strings.Contains(p.log.String(), what)
	})
}

// file writes a file of the test.
func (h *host) file(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// radvd advertises a default router on rt0 with a lifetime in seconds.
func (h *host) radvd(router *netns.NS, lifetime int) *peer {
	h.t.Helper()
	return h.radvdOn(router, "rt0", lifetime)
}

// radvdOn is radvd on a link of the router's.
func (h *host) radvdOn(router *netns.NS, link string, lifetime int) *peer {
	h.t.Helper()
	conf := h.file("radvd.conf", fmt.Sprintf(`interface %s {
  AdvSendAdvert on;
  MinRtrAdvInterval %d;
  MaxRtrAdvInterval %d;
  AdvDefaultLifetime %d;
  prefix fd5e:1:2:3::/64 {};
};
`, link, max(3, lifetime/4), max(4, lifetime/3), lifetime))
	return startPeer(h.t, router, nil, "radvd", "-n", "-m", "stderr", "-C", conf, "-p", filepath.Join(h.dir, "radvd.pid"))
}

// times of a lease in seconds.
type times struct{ T1, T2, Preferred, Valid int }

// kea delegates /64s out of a /48, and leases addresses of 2001:db8:5e::/64, on rt0.
func (h *host) kea(router *netns.NS, pool netip.Prefix, l times) *peer {
	h.t.Helper()
	conf := h.file("kea.conf", fmt.Sprintf(`{"Dhcp6": {
  "data-directory": %q,
  "interfaces-config": {"interfaces": ["rt0"]},
  "lease-database": {"type": "memfile", "persist": false},
  "renew-timer": %d, "rebind-timer": %d, "preferred-lifetime": %d, "valid-lifetime": %d,
  "subnet6": [{
    "subnet": "2001:db8:5e::/64", "interface": "rt0",
    "pools": [{"pool": "2001:db8:5e::100 - 2001:db8:5e::1ff"}],
    "pd-pools": [{"prefix": "%s", "prefix-len": 48, "delegated-len": 64}]
  }],
  "loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout", "flush": true}]}]
}}
`, h.dir, l.T1, l.T2, l.Preferred, l.Valid, pool.Addr()))
	p := startPeer(h.t, router, []string{"KEA_PIDFILE_DIR=" + h.dir, "KEA_LOCKFILE_DIR=" + h.dir}, "kea-dhcp6", "-c", conf)
	p.says("DHCP6_STARTED")
	return p
}
