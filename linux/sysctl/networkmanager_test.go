package sysctl_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/linux/sysctl"
)

// The real NetworkManager looks after the uplink and has a default route from a router there. The care sees that, switches forwarding on
// and nothing else, and NetworkManager goes on to listen. make soak runs it: the package would start its daemon on a developer's machine.
func TestCareLeavesNetworkManagerAlone(t *testing.T) {
	if os.Getenv("HEXAPOD_SOAK") != "1" {
		t.Log("make soak runs this")
		return
	}
	netnstest.Root(t)
	s := newSegment(t)
	run := t.TempDir()
	s.care.SetRun(run)
	startNetworkManager(t, s, run)
	eventually(t, "NetworkManager listens, and not the kernel", func() bool { return s.get(t, uplink, "accept_ra") == "0" })
	s.advertise(t)
	eventually(t, "NetworkManager says that it looks after "+uplink, func() bool {
		text, _ := os.ReadFile(filepath.Join(run, "NetworkManager", "devices", strconv.Itoa(s.index(t, s.host, uplink))))
		return strings.Contains(string(text), "managed=true") && strings.Contains(string(text), "connection-uuid=")
	})
	s.leftAlone(t, sysctl.OwnedByNM)
	if got := s.get(t, uplink, "accept_ra"); got != "0" {
		t.Errorf("accept_ra is %s on a host that forwards by now", got)
	}
}

// startNetworkManager runs NetworkManager in the namespace of the host, with a bus and folders of its own. run takes the place of /run; a system without udev is one whose /sys cannot be written.
func startNetworkManager(t *testing.T, s *segment, run string) {
	t.Helper()
	dir := t.TempDir()
	profile := filepath.Join(dir, "etc", "system-connections", "up.nmconnection")
	err := errors.Join(os.Chmod(run, 0o755), os.MkdirAll(filepath.Join(run, "dbus"), 0o755), os.MkdirAll(filepath.Dir(profile), 0o755),
		os.MkdirAll(filepath.Join(dir, "etc", "conf.d"), 0o755), os.MkdirAll(filepath.Join(dir, "lib"), 0o755),
		os.WriteFile(profile, []byte("[connection]\nid=up\ntype=ethernet\ninterface-name="+uplink+"\n[ipv4]\nmethod=disabled\n[ipv6]\nmethod=auto\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "etc", "NetworkManager.conf"),
			[]byte("[main]\nplugins=keyfile\ndns=none\nrc-manager=unmanaged\nno-auto-default=*\nauth-polkit=false\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	places := "mount --bind " + run + " /run\nmount --bind " + dir + "/lib /var/lib/NetworkManager\nmount --bind " + dir + "/etc /etc/NetworkManager\nmount -t sysfs -o ro sysfs /sys\n"
	socket := filepath.Join(run, "dbus", "system_bus_socket")
	inPlace(t, s, places+"exec dbus-daemon --system --nofork --nopidfile --address=unix:path=/run/dbus/system_bus_socket")
	eventually(t, "the bus is there", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	inPlace(t, s, places+"exec NetworkManager --debug --log-level=DEBUG")
}

// inPlace runs a shell script in the host's network namespace and mounts of its own, until the test ends.
func inPlace(t *testing.T, s *segment, script string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", script)
	cmd.Stdout, cmd.Stderr = log, log
	netnstest.Do(t, s.host, cmd.Start)
	t.Cleanup(func() {
		err := cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // by a signal of ours
		if err := errors.Join(err, log.Close()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s\n%s", script, b[max(0, len(b)-4000):])
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}
