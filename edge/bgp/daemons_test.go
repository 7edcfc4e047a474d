package bgp_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program returns the path of a program of Debian; without it the test is skipped as it is without root.
func program(t *testing.T, paths ...string) string {
	t.Helper()
	for _, p := range paths {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	if os.Getenv("HEXAPOD_ROOT") == "1" {
		t.Fatalf("%v is missing: see test/packages.txt", paths)
	}
	t.Skipf("%v is missing", paths)
	return ""
}

// daemon runs a program inside ns in the foreground until the test ends.
func daemon(t *testing.T, ns place, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr, cmd.Stdout = testWriter{t}, testWriter{t}
	if err := ns.do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// frr is FRR's zebra, bgpd and what else a test wants, in a namespace with files of their own.
type frr struct {
	t   *testing.T
	ns  place
	dir string
	sh  string
}

func startFRR(t *testing.T, ns place, config string, more ...string) frr {
	t.Helper()
	zebra, bgpd := program(t, "/usr/lib/frr/zebra"), program(t, "/usr/lib/frr/bgpd")
	f := frr{t, ns, t.TempDir(), program(t, "vtysh")}
	for _, dir := range []string{f.dir, filepath.Dir(f.dir)} { // FRR's daemons give up root
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(f.dir, "frr.conf")
	if err := os.WriteFile(conf, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	daemons := []string{zebra, bgpd}
	for _, name := range more {
		daemons = append(daemons, program(t, "/usr/lib/frr/"+name))
	}
	for _, d := range daemons {
		daemon(t, ns, d, "-f", conf, "-i", filepath.Join(f.dir, filepath.Base(d)+".pid"), "-z", filepath.Join(f.dir, "zserv.api"),
			"--vty_socket", f.dir, "-P", "0", "--log", "stdout", "--log-level", "errors")
		socket := filepath.Join(f.dir, filepath.Base(d)+".vty")
		eventually(t, socket+" there", func() bool { _, err := os.Stat(socket); return err == nil })
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.show("show bgp all") + f.show("show bgp neighbors") + f.show("show ipv6 route") + f.kernel())
		}
	})
	return f
}

// show asks FRR in its own words.
func (f frr) show(line string) string {
	f.t.Helper()
	var out []byte
	err := f.ns.do(func() (err error) {
		out, err = exec.Command(f.sh, "--vty_socket", f.dir, "-c", line).CombinedOutput()
		return err
	})
	if err != nil {
		f.t.Logf("vtysh -c %q: %v: %s", line, err, out)
	}
	return string(out)
}

// kernel returns the routes that FRR put into the kernel.
func (f frr) kernel() string { return f.ns.run("ip -6 route show proto bgp") }

// bird is BIRD in a namespace.
type bird struct {
	t      *testing.T
	ns     place
	socket string
	ctl    string
}

func startBIRD(t *testing.T, ns place, config string) bird {
	t.Helper()
	dir := t.TempDir()
	b := bird{t, ns, filepath.Join(dir, "ctl"), program(t, "birdc", "/usr/sbin/birdc")}
	conf := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(conf, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, ns, program(t, "bird", "/usr/sbin/bird"), "-f", "-c", conf, "-s", b.socket, "-P", filepath.Join(dir, "pid"))
	eventually(t, "BIRD there", func() bool { _, err := os.Stat(b.socket); return err == nil })
	return b
}

func (b bird) show(line string) string {
	b.t.Helper()
	out, err := exec.Command(b.ctl, append([]string{"-s", b.socket}, strings.Fields(line)...)...).CombinedOutput()
	if err != nil {
		b.t.Logf("birdc %s: %v: %s", line, err, out)
	}
	return string(out)
}

// advertise sends router advertisements of lifetime 0 on a link.
func advertise(t *testing.T, ns place, link string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	text := "interface " + link + " { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 0; };\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, ns, program(t, "radvd", "/usr/sbin/radvd"), "-n", "-C", conf, "-p", filepath.Join(dir, "pid"), "-m", "stderr")
}
