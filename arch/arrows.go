package arch

import (
	"fmt"
	"slices"
	"strings"
)

// mayImport says, for every shelf, the shelves it may import besides itself. A shelf that is not here may not exist: adding one
// is a decision, and this is where it is written down.
var mayImport = map[string][]string{
	"api":        {},
	"model":      {},
	"linux":      {"model"},
	"edge":       {"api", "model"},
	"agent":      {"edge", "linux", "model", "api"},
	"controller": {"edge", "linux", "model", "api"},
	"doctor":     {"edge", "linux", "model", "api"},
	"lab":        {"agent", "controller", "doctor", "edge", "linux", "model", "api"},
	"cmd":        {"lab", "agent", "controller", "doctor", "edge", "linux", "model", "api"},
	"arch":       {},
	"test":       {"arch", "lab", "agent", "controller", "doctor", "edge", "linux", "model", "api"},
}

// modelDeny is what the model may not import, with the reason. An entry covers what lies below it, net/netip excepted.
var modelDeny = map[string]string{
	"os":          "the model knows no world: files and processes are passed in as values",
	"net":         "the model knows no world: net/netip is enough",
	"time":        "the model knows no world: seconds are passed in",
	"log":         "the model returns reasons, it does not print them",
	"syscall":     "the model knows no kernel",
	"crypto/rand": "the model knows no world: randomness is passed in",
}

// external says where a module from outside may be imported by code that is built (tests are free).
var external = map[string][]string{
	"github.com/vishvananda":         {"linux"},
	"github.com/cilium/ebpf":         {"linux"},
	"golang.org/x/sys":               {"linux", "agent", "lab", "test/kernels"},
	"github.com/fsnotify":            {"edge"},
	"go.yaml.in":                     {"api", "edge"},
	"github.com/prometheus":          {"agent", "controller"},
	"k8s.io":                         {"edge/kube"},
	"github.com/osrg/gobgp":          {"edge/bgp"},
	"github.com/insomniacslk/dhcp":   {"edge/dhcp"},
	"github.com/gaissmai/bart":       {"model"},
	"golang.org/x/sync":              {"agent", "controller", "lab", "edge"},
	"golang.org/x/net":               {"linux", "edge", "lab"},
	"github.com/miekg/dns":           {"edge/dns", "test/capture"},
	"github.com/rogpeppe":            {"lab"},
	"github.com/google/go-cmp":       {},
	"github.com/containernetworking": {"lab", "test"},
}

// plugin is the program that runs once per endpoint and must stay small.
const plugin = "cmd/hexapod-cni"

// Arrows checks who imports whom.
func Arrows(all []Package) []Finding {
	var found []Finding
	for _, p := range all {
		if _, ok := mayImport[p.Shelf()]; !ok {
			found = append(found, Finding{p.Path(), fmt.Sprintf("shelf %q is unknown", p.Shelf()), "shelves are listed in arch/arrows.go"})
			continue
		}
		for _, imp := range p.Imports {
			found = append(found, arrow(p, imp, false)...)
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			found = append(found, arrow(p, imp, true)...)
		}
		found = append(found, reach(p)...)
	}
	return found
}

// arrow judges one import of p.
func arrow(p Package, imp string, inTest bool) []Finding {
	switch {
	case ours(imp):
		return ownArrow(p, imp, inTest)
	case inTest:
		return nil
	case standard(imp):
		return standardArrow(p, imp)
	}
	for mod, places := range external {
		if !under(imp, mod) {
			continue
		}
		for _, place := range places {
			if under(p.Path(), place) {
				return nil
			}
		}
		return []Finding{{p.Path(), "imports " + imp, fmt.Sprintf("only %s may", strings.Join(places, ", "))}}
	}
	return []Finding{{p.Path(), "imports " + imp, "modules from outside are listed in arch/arrows.go with the shelf that may use them"}}
}

func ownArrow(p Package, imp string, inTest bool) []Finding {
	from, to := p.Shelf(), shelfOf(imp)
	forTests := strings.HasSuffix(imp, "test") // linux/netns/netnstest and its like
	switch {
	case forTests && inTest:
		return nil
	case forTests && !strings.HasSuffix(p.ImportPath, "test") && from != "test":
		return []Finding{{p.Path(), "imports " + imp, "a package for tests is imported by tests alone"}}
	case from == to && from != "cmd":
		return nil
	case from == to && under(shelfAndProgram(imp), shelfAndProgram(p.ImportPath)):
		return nil
	case slices.Contains(mayImport[from], to):
		return nil
	}
	why := fmt.Sprintf("%s imports nothing of ours", from)
	if len(mayImport[from]) > 0 {
		why = fmt.Sprintf("%s imports only %s", from, strings.Join(mayImport[from], ", "))
	}
	return []Finding{{p.Path(), "imports " + imp, why}}
}

// shelfAndProgram cuts an import path below cmd to the program it belongs to.
func shelfAndProgram(importPath string) string {
	words := strings.SplitN(strings.TrimPrefix(importPath, Module+"/"), "/", 3)
	return strings.Join(words[:min(2, len(words))], "/")
}

func standardArrow(p Package, imp string) []Finding {
	if p.Shelf() != "model" || imp == "net/netip" {
		return nil
	}
	for denied, why := range modelDeny {
		if under(imp, denied) {
			return []Finding{{p.Path(), "imports " + imp, why}}
		}
	}
	return nil
}

// reach judges what p imports at any depth.
func reach(p Package) []Finding {
	var found []Finding
	for _, dep := range p.Deps {
		if standard(dep) || vendored(dep) {
			continue
		}
		switch {
		case under(p.Path(), plugin) && !ours(dep):
			found = append(found, Finding{p.Path(), "reaches " + dep, "the CNI plugin is built from the standard library alone"})
		case p.Shelf() == "model" && !ours(dep) && !under(dep, "github.com/gaissmai/bart"):
			found = append(found, Finding{p.Path(), "reaches " + dep, "the model is built from the standard library and bart"})
		case p.Shelf() == "api" && !ours(dep) && !under(dep, "go.yaml.in/yaml"):
			found = append(found, Finding{p.Path(), "reaches " + dep, "the API is built from the standard library and yaml"})
		}
	}
	return found
}

// vendored reports whether dep is the standard library's own copy of an x/ package.
func vendored(dep string) bool { return strings.HasPrefix(dep, "vendor/") }
