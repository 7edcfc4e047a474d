package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The renderings are read by the programs they are for. A test whose program is missing is skipped, and fails where
// HEXAPOD_ROOT=1 says that everything is installed (test/packages.txt).

func missing(t *testing.T, format string, a ...any) {
	t.Helper()
	if os.Getenv("HEXAPOD_ROOT") == "1" {
		t.Fatalf(format, a...)
	}
	t.Skipf(format, a...)
}

// program finds an installed program, also in the folders of administrators.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	missing(t, "no %s: install %s", name, debian)
	return ""
}

// written puts the files into a folder of their own and returns their paths.
func written(t *testing.T, files []File) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// checker is how a program is asked about one file, and a text that it must refuse, so that its yes means something.
type checker struct {
	name, debian string
	args         func(t *testing.T, program string, f File, path string) []string
	env          func(t *testing.T) []string
	refused      string
}

func checkers() map[Target]checker {
	plain := func(args ...string) func(*testing.T, string, File, string) []string {
		return func(_ *testing.T, program string, _ File, path string) []string {
			return append(append([]string{program}, args...), path)
		}
	}
	return map[Target]checker{
		FRR:   {"vtysh", "frr", plain("-C", "-f"), nil, "router bgp none\n"},
		BIRD:  {"bird", "bird2", plain("-p", "-c"), nil, "protocol bgp {\n\tlocal as none;\n}\n"},
		Radvd: {"radvd", "radvd", plain("-c", "-C"), nil, "interface swp1\n{\n\tAdvSendAdvert perhaps;\n};\n"},
		Zone: {"named-checkzone", "bind9-utils", func(_ *testing.T, program string, f File, path string) []string {
			return []string{program, strings.TrimSuffix(f.Name, ".zone"), path}
		}, nil, "@ IN NS localhost.\n"},
		// nft asks the kernel even when it only checks, so it looks at a namespace of its own.
		Filter: {"nft", "nftables", func(t *testing.T, program string, _ File, path string) []string {
			return inNamespace(t, nil, program, "-c", "-f", path)
		}, nil, "table ip6 x {\n\tchain y {\n\t\tip6 saddr 10.0.0.1 drop\n\t}\n}\n"},
		// Kea refuses interfaces that are not there.
		Kea: {"kea-dhcp6", "kea-dhcp6-server", func(t *testing.T, program string, _ File, path string) []string {
			return inNamespace(t, []string{"swp1", "swp2"}, program, "-t", path)
		}, func(t *testing.T) []string {
			dir := t.TempDir()
			return []string{"KEA_LOCKFILE_DIR=" + dir, "KEA_PIDFILE_DIR=" + dir}
		}, `{"Dhcp6": {"subnet6": [{"subnet": "2001:db8::/64", "pd-pools": [{"prefix": "2001:db8::", "prefix-len": 64, "delegated-len": 60}]}]}}`},
	}
}

// inNamespace runs a program in a network namespace of its own, with links of these names.
func inNamespace(t *testing.T, links []string, args ...string) []string {
	t.Helper()
	unshare := program(t, "unshare", "util-linux")
	script := ""
	for _, l := range links {
		script += program(t, "ip", "iproute2") + " link add " + l + " type veth peer name to-" + l + " && "
	}
	cmd := append([]string{unshare, "--map-root-user", "--net", "--", "/bin/sh", "-c", script + `exec "$@"`, "sh"}, args...)
	if out, err := exec.Command(unshare, "--map-root-user", "--net", "--", "/bin/true").CombinedOutput(); err != nil {
		missing(t, "no namespace of our own: %v %s", err, out)
	}
	return cmd
}

// accepts asks the program about one file.
func (c checker) accepts(t *testing.T, f File, path string) ([]byte, error) {
	t.Helper()
	args := c.args(t, program(t, c.name, c.debian), f, path)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = os.Environ()
	if c.env != nil {
		cmd.Env = append(cmd.Env, c.env(t)...)
	}
	return cmd.CombinedOutput()
}

func TestRealProgramsAccept(t *testing.T) {
	for name, r := range renderings() {
		c, ok := checkers()[r.target]
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			files := mustRender(t, labPlan(), r.target, r.scope, labOptions())
			for i, path := range written(t, files) {
				if out, err := c.accepts(t, files[i], path); err != nil || bytes.Contains(out, []byte("nknown command")) {
					t.Errorf("%s refuses %s: %v\n%s", c.name, files[i].Name, err, out)
				}
			}
		})
	}
}

func TestRealProgramsRefuse(t *testing.T) {
	for target, c := range checkers() {
		t.Run(string(target), func(t *testing.T) {
			f := File{"broken.example.zone", c.refused}
			if out, err := c.accepts(t, f, written(t, []File{f})[0]); err == nil {
				t.Errorf("%s takes nonsense, so its yes means nothing:\n%s", c.name, out)
			}
		})
	}
}

// A plan of every shape is accepted as well, not only the one of the goldens.
func TestRealProgramsAcceptEveryShape(t *testing.T) {
	for name, p := range shapes(t) {
		for _, r := range []struct {
			target Target
			scope  Scope
		}{{FRR, Scope{Rack: "r1"}}, {BIRD, Scope{Host: "r1h1"}}, {BIRD, Scope{Spine: 1}}, {Filter, Scope{Rack: "r1"}}, {Filter, Scope{Spine: 1}}, {Radvd, Scope{Rack: "r1"}}, {Kea, Scope{Rack: "r1"}}, {Zone, Scope{}}} {
			t.Run(name+"/"+string(r.target)+" of "+r.scope.String(), func(t *testing.T) {
				o := labOptions()
				o.Ports = map[string]string{"r1h1": "swp1", "r1h2": "swp2"}
				files := mustRender(t, p, r.target, r.scope, o)
				// The zones of a fabric differ in their names alone; the first and the last show both ends.
				if len(files) > 2 {
					files = slices.Delete(files, 1, len(files)-1)
				}
				for i, path := range written(t, files) {
					if out, err := checkers()[r.target].accepts(t, files[i], path); err != nil {
						t.Errorf("%s is refused: %v\n%s\n%s", files[i].Name, err, out, files[i].Text)
					}
				}
			})
		}
	}
}
