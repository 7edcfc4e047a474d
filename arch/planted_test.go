package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlantedArrows plants one wrong import at a time and one right one beside it.
func TestPlantedArrows(t *testing.T) {
	for _, tc := range []struct {
		name string
		pkg  Package
		want string // part of the finding; "" for none
	}{
		{"edge may not know linux", imports("edge/cni", "hexapod.dev/linux/link"), "edge imports only api, model"},
		{"linux may not know edge", imports("linux/link", "hexapod.dev/edge/cni"), "linux imports only model"},
		{"agent introduces them", imports("agent", "hexapod.dev/edge/cni", "hexapod.dev/linux/link"), ""},
		{"agent and controller are strangers", imports("controller", "hexapod.dev/agent"), "controller imports only"},
		{"a shelf may use itself", imports("linux/link", "hexapod.dev/linux/rtnl"), ""},
		{"model may not know api", imports("model/ipam", "hexapod.dev/api/v1alpha1"), "model imports nothing of ours"},
		{"api knows nothing of ours", imports("api/v1alpha1", "hexapod.dev/model/prefix"), "api imports nothing of ours"},
		{"lab starts agents", imports("lab", "hexapod.dev/agent/journal"), ""},
		{"agent does not know the lab", imports("agent", "hexapod.dev/lab"), "agent imports only"},
		{"nobody imports a command", imports("agent", "hexapod.dev/cmd/hexapod/x"), "agent imports only"},
		{"commands do not share", imports("cmd/hexapod", "hexapod.dev/cmd/hexapod-cni/wire"), "cmd imports only"},
		{"a command may have parts", imports("cmd/hexapod", "hexapod.dev/cmd/hexapod/parts"), ""},
		{"model reads no clock", imports("model/ipam", "time"), "seconds are passed in"},
		{"model opens no file", imports("model/ipam", "os/exec"), "files and processes"},
		{"model has no socket", imports("model/ipam", "net/http"), "net/netip is enough"},
		{"model may name addresses", imports("model/ipam", "net/netip"), ""},
		{"model does not log", imports("model/ipam", "log/slog"), "does not print"},
		{"model throws no dice", imports("model/ipam", "crypto/rand"), "randomness is passed in"},
		{"netlink belongs to linux", imports("agent", "github.com/vishvananda/netlink"), "only linux may"},
		{"eBPF belongs to linux", imports("model/policy", "github.com/cilium/ebpf"), "only linux may"},
		{"Kubernetes belongs to edge/kube", imports("edge/file", "k8s.io/api/core/v1"), "only edge/kube may"},
		{"a stranger must be introduced", imports("agent", "example.com/new"), "arch/arrows.go"},
		{"tests may use what they need", Package{ImportPath: Module + "/model/ipam", TestImports: []string{"os", "time", "github.com/google/go-cmp/cmp"}}, ""},
		{"tests keep the arrows", Package{ImportPath: Module + "/linux/link", TestImports: []string{Module + "/edge/cni"}}, "linux imports only model"},
		{"tests may use the test namespaces", Package{ImportPath: Module + "/edge/cni", XTestImports: []string{Module + "/linux/netns/netnstest"}}, ""},
		{"what is built may not", imports("lab", "hexapod.dev/linux/netns/netnstest"), "by tests alone"},
		{"model reaches nothing by a detour", Package{ImportPath: Module + "/model/ipam", Deps: []string{"k8s.io/api/core/v1"}}, "reaches k8s.io"},
		{"model may reach bart", Package{ImportPath: Module + "/model/ipam", Deps: []string{"github.com/gaissmai/bart/internal/art", "os"}}, ""},
		{"api reaches yaml alone", Package{ImportPath: Module + "/api/v1alpha1", Deps: []string{"go.yaml.in/yaml/v3", "golang.org/x/sys/unix"}}, "reaches golang.org/x/sys/unix"},
		{"the plugin is std only", Package{ImportPath: Module + "/cmd/hexapod-cni", Deps: []string{"os", "vendor/golang.org/x/net/idna", "golang.org/x/sys/unix"}}, "standard library alone"},
		{"a new shelf is a decision", imports("plumbing"), `shelf "plumbing" is unknown`},
	} {
		t.Run(tc.name, func(t *testing.T) { wantOne(t, Arrows([]Package{tc.pkg}), tc.want) })
	}
}

func TestPlantedComments(t *testing.T) {
	for _, tc := range []struct{ name, pkg, doc, want string }{
		{"good", "prefix", "Package prefix is arithmetic on IPv6 prefixes.", ""},
		{"none", "prefix", "", "has no package comment"},
		{"of another package", "prefix", "Package suffix is not here.", "want \"Package prefix \""},
		{"no full stop", "prefix", "Package prefix is arithmetic", "has no end"},
		{"too long for a line", "prefix", "Package prefix " + strings.Repeat("is long and ", 15) + "ends.", "at most 160"},
		{"says nothing", "util", "Package util is a drawer.", `package name "util"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantOne(t, Comments([]Package{{ImportPath: Module + "/model/" + tc.pkg, Name: tc.pkg, Doc: tc.doc, GoFiles: []string{"a.go"}}}), tc.want)
		})
	}
}

// TestPlantedBans writes one file at a time and looks for what is banned in it.
func TestPlantedBans(t *testing.T) {
	long := "func long() {\n" + strings.Repeat("\t_ = 0\n", maxFunctionLines) + "}\n"
	for _, tc := range []struct{ name, file, code, want string }{
		{"net.IP in agent", "agent/a.go", `import "net"; var x net.IP`, "uses net.IP"},
		{"net.IP in linux", "linux/link/a.go", `import "net"; var x net.IP`, "uses net.IP"},
		{"net.IP at the netlink call", "linux/rtnl/a.go", `import "net"; var x net.IP`, ""},
		{"net.Listener in agent", "agent/a.go", `import "net"; var x net.Listener`, ""},
		{"net.ParseCIDR under another name", "edge/cni/a.go", `import n "net"; var _, _, _ = n.ParseCIDR("")`, "uses n.ParseCIDR"},
		{"a dump in the lab", "lab/a.go", `import "github.com/vishvananda/netlink"; var _, _ = netlink.RouteListFiltered(0, nil, 0)`, "half a list"},
		{"a dump in a test of the lab", "lab/a_test.go", `import "github.com/vishvananda/netlink"; var _, _ = netlink.LinkList()`, "half a list"},
		{"a dump in linux", "linux/route/a.go", `import "github.com/vishvananda/netlink"; var _, _ = netlink.LinkList()`, ""},
		{"a netlink socket in agent", "agent/a.go", `import "golang.org/x/sys/unix"; var x = unix.AF_NETLINK`, "the one package that dumps"},
		{"a table from the standard library", "linux/route/a.go", `import "syscall"; var _, _ = syscall.NetlinkRIB(0, 0)`, "the one package that dumps"},
		{"a netlink socket in linux/rtnl", "linux/rtnl/a.go", `import "golang.org/x/sys/unix"; var x = unix.AF_NETLINK`, ""},
		{"a clock in model", "model/ipam/a.go", `import "time"; var x = time.Now()`, "uses time.Now"},
		{"a clock in a test of model", "model/ipam/a_test.go", `import "time"; var x = time.Now()`, "uses time.Now"},
		{"a clock in agent", "agent/a.go", `import "time"; var x = time.Now()`, ""},
		{"printing in a package", "agent/a.go", `import "fmt"; func f() { fmt.Println() }`, "uses fmt.Println"},
		{"printing in a test", "agent/a_test.go", `import "fmt"; func f() { fmt.Println() }`, ""},
		{"the old logger", "agent/a.go", `import "log"; func f() { log.Fatal() }`, "log/slog"},
		{"leaving from a package", "agent/a.go", `import "os"; func f() { os.Exit(1) }`, "only main"},
		{"a variable that looks like a package", "agent/a.go", `func f(net struct{ IP int }) int { return net.IP }`, ""},
		{"a skip without the rule", "agent/a_test.go", `import "testing"; func TestX(t *testing.T) { t.Skip("no") }`, "skips a test"},
		{"a skip with the rule", "agent/a_test.go", `import ("os"; "testing"); func TestX(t *testing.T) { if os.Getenv("HEXAPOD_ROOT") == "" { t.Skip("no") } }`, ""},
		{"a long function", "agent/a.go", long, "long has 92 lines"},
		{"a long function in a test", "agent/a_test.go", long, ""},
		{"a long file", "agent/a.go", strings.Repeat("\n", maxFileLines+1), "file of 501 lines"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Base(tc.file)
			if err := os.WriteFile(filepath.Join(dir, name), []byte("package a;"+tc.code), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := Bans([]Package{{ImportPath: Module + "/" + filepath.Dir(tc.file), Name: "a", Dir: dir, GoFiles: []string{name}}})
			if err != nil {
				t.Fatal(err)
			}
			wantOne(t, found, tc.want)
		})
	}
}

func TestPlantedExported(t *testing.T) {
	for _, tc := range []struct{ name, code, want string }{
		{"function", "func Do() {}", "Do has no comment"},
		{"function with one", "// Do does.\nfunc Do() {}", ""},
		{"method", "type t int\n// T is.\ntype T int\nfunc (T) Do() {}", "Do has no comment"},
		{"method of a hidden type", "type t int\nfunc (t) Do() {}", ""},
		{"method that all know", "// T is.\ntype T int\nfunc (*T) String() string { return \"\" }", ""},
		{"type", "type T[E any] struct{}", "T has no comment"},
		{"constants under one comment", "// All of them.\nconst (\n\tA = 1\n\tB = 2\n)", ""},
		{"constant with its own", "const (\n\ta = 1\n\tB = 2 // the second\n)", ""},
		{"a value of a type", "const (\n\tB Why = \"no route\"\n)", ""},
		{"values of a type", "const (\n\tA Seconds = 1\n\tB = 60 * A\n)", ""},
		{"constant without", "const (\n\ta = 1\n\tB = 2\n)", "B has no comment"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n"+tc.code), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := Exported([]Package{{ImportPath: Module + "/agent", Name: "a", Dir: dir, GoFiles: []string{"a.go"}}})
			if err != nil {
				t.Fatal(err)
			}
			wantOne(t, found, tc.want)
		})
	}
}

// TestPlantedTree runs the loader and all rules over a small module with a fault of each kind.
func TestPlantedTree(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module " + Module + "\n\ngo 1.26.0\n",
		"model/clock/a.go": "// Package clock reads what it must not.\npackage clock\n\nimport \"time\"\n\nvar Started = time.Now()\n",
		"edge/door/a.go":   "package door\n\nimport _ \"hexapod.dev/linux/wall\"\n",
		"linux/wall/a.go":  "// Package wall is fine.\npackage wall\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Load(t.Context(), dir, "./...")
	if err != nil {
		t.Fatal(err)
	}
	bans, err := Bans(all)
	if err != nil {
		t.Fatal(err)
	}
	arrows := Arrows(all)
	wantOne(t, bans, "model/clock/a.go:6: uses time.Now")
	wantOne(t, Comments(all), "edge/door: has no package comment")
	if len(arrows) != 2 {
		t.Fatalf("want the clock in model and linux in edge, got %v", arrows)
	}
}

func imports(path string, imports ...string) Package {
	return Package{ImportPath: Module + "/" + path, Imports: imports}
}

// wantOne asks for exactly one finding that contains want, or for none if want is empty.
func wantOne(t *testing.T, found []Finding, want string) {
	t.Helper()
	switch {
	case want == "" && len(found) > 0:
		t.Errorf("unexpected: %v", found)
	case want != "" && len(found) != 1:
		t.Errorf("want one finding with %q, got %d: %v", want, len(found), found)
	case want != "" && !strings.Contains(found[0].String(), want):
		t.Errorf("want %q in %q", want, found[0])
	}
}
