package sysctl_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/sysctl"
	"hexapod.dev/model/desired"
)

// networkd is where Debian has the daemon; it is not made to be found by PATH.
const networkd = "/lib/systemd/systemd-networkd"

// The real systemd-networkd looks after the uplink and has a default route from a router there. The care sees that, switches
// forwarding on and nothing else: accept_ra stays as networkd wants it, and the route stays.
func TestCareLeavesNetworkdAlone(t *testing.T) {
	netnstest.Root(t)
	if _, err := os.Stat(networkd); err != nil {
		t.Fatalf("%v: install the packages of test/packages.txt", err)
	}
	s := newSegment(t)
	run := t.TempDir()
	s.care.SetRun(run)
	startNetworkd(t, s, run, `[Match]
Name=`+uplink+`
[Network]
LinkLocalAddressing=ipv6
IPv6AcceptRA=yes
`)
	s.advertise(t)
	if got := s.get(t, uplink, "accept_ra"); got != "0" {
		t.Fatalf("accept_ra is %s: it is the kernel that listens; this test proves nothing", got)
	}
	s.leftAlone(t, sysctl.OwnedByNetworkd)
	netnstest.Run(t, s.host, "ip -6 route del default proto ra")
	s.advertise(t) // networkd still listens, on a host that forwards by now
	if !s.hasDefault(t) || s.get(t, uplink, "accept_ra") != "0" {
		t.Errorf("accept_ra %s, routes:\n%s", s.get(t, uplink, "accept_ra"), netnstest.Run(t, s.host, "ip -6 route"))
	}
}

// leftAlone has the care look after the uplink that somebody else looks after: it says so, switches forwarding on and nothing else, and the
// default route stays.
func (s *segment) leftAlone(t *testing.T, why desired.Why) {
	t.Helper()
	report, err := s.care.Reconcile(context.Background(), []string{uplink})
	if err != nil {
		t.Fatal(err)
	}
	want := []desired.Undone{{Kind: "uplink", Name: uplink, Why: why}}
	if d := cmp.Diff(want, report.Left); d != "" {
		t.Errorf("left alone (-want +have):\n%s", d)
	}
	if d := cmp.Diff([]sysctl.Key{sysctl.IPv6("all", "forwarding")}, report.Delta.Change); d != "" {
		t.Errorf("changed (-want +have):\n%s", d)
	}
	if !s.hasDefault(t) {
		t.Errorf("the default route is lost:\n%s", netnstest.Run(t, s.host, "ip -6 route"))
	}
}

// startNetworkd runs systemd-networkd in the namespace of the host with one .network file. run takes the place of /run for it; a
// system without udev is one whose /sys cannot be written.
func startNetworkd(t *testing.T, s *segment, run, network string) {
	t.Helper()
	conf := filepath.Join(run, "systemd", "network")
	err := errors.Join(os.Chmod(run, 0o755), os.MkdirAll(conf, 0o755), os.WriteFile(filepath.Join(conf, "10-up.network"), []byte(network), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	script := `set -e
mount --bind "$0" /run
for d in links leases lldp; do mkdir -p /run/systemd/netif/$d; done
chown -R systemd-network /run/systemd/netif
mount -t sysfs -o ro sysfs /sys
exec ` + networkd
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, run)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug")
	netnstest.Do(t, s.host, cmd.Start)
	t.Cleanup(func() {
		err := cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // by a signal of ours
		if err := errors.Join(err, log.Close()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("log of systemd-networkd:\n%s", b)
		}
	})
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		b, _ := os.ReadFile(log.Name())
		if strings.Contains(string(b), "NDISC: Started") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("systemd-networkd does not look after %s", uplink)
		}
	}
}
