package arch

import (
	"fmt"
	"slices"
	"strings"
)

// shelf is one row of the first table of docs/map.md.
type shelf struct{ name, what string }

// shelves from the top to the bottom, in the words of docs/architecture.md.
var shelves = []shelf{
	{"cmd", "programs: parse the command line and wire"},
	{"lab", "a fabric of network namespaces, for tests, demos and people"},
	{"agent", "the daemon of a host"},
	{"controller", "the cluster's one writer"},
	{"doctor", "live checks"},
	{"edge", "speaks a protocol to somebody else"},
	{"linux", "every syscall"},
	{"model", "pure values: no clock, file or socket"},
	{"api", "everything a user can write, once"},
	{"arch", "the rules of this tree and their checks"},
	{"test", "what is tested across shelves"},
}

// features gathers packages that serve one feature although their names differ. A package that is not named here is a feature
// of its own under its last word.
var features = []struct {
	name     string
	packages []string
}{
	{"configuration", []string{"api", "edge/file", "edge/objects"}},
	{"address plan", []string{"model/prefix", "model/addressplan"}},
	{"allocation", []string{"model/ipam", "agent/allocation", "agent/journal"}},
	{"identity", []string{"model/identity"}},
	{"endpoints (CNI)", []string{"edge/cni", "linux/link", "linux/netns", "cmd/hexapod-cni"}},
	{"routes", []string{"linux/route", "linux/neigh"}},
	{"host care", []string{"linux/sysctl", "linux/hostid", "linux/router"}},
	{"prefix delegation", []string{"agent/delegation", "edge/dhcp", "linux/dhcp"}},
	{"neighbour discovery", []string{"linux/ndp"}},
	{"bgp", []string{"agent/speaking", "edge/bgp", "model/announce"}},
	{"datapath", []string{"model/datapath", "linux/datapath", "linux/dropreason", "agent/seeing"}},
	{"state", []string{"model/section", "model/desired", "model/diff", "linux/rtnl", "linux/flock", "agent"}},
	{"policy", []string{"agent/policies", "model/policy"}},
	{"services", []string{"agent/services", "model/service", "model/transport", "linux/datapath/connect", "linux/redirect"}},
	{"dns64", []string{"model/dns64", "edge/dns", "agent/resolver", "linux/datagram"}},
	{"nat64", []string{"agent/translator", "agent/upstream", "linux/nat64", "model/xlat/nat64", "model/gateway", "model/upstream"}},
	{"lab", []string{"lab"}},
	{"command line", []string{"cmd/hexapod", "agent/local"}},
	{"kubernetes", []string{"edge/kube", "controller"}},
	{"a real cluster", []string{"test/cluster"}},
	{"rules", []string{"arch", "test"}},
}

// featureOf names the feature a package serves: the longest entry of features that covers it.
func featureOf(path string) string {
	best, name := "", path[strings.LastIndex(path, "/")+1:]
	for _, f := range features {
		for _, p := range f.packages {
			if under(path, p) && len(p) > len(best) {
				best, name = p, f.name
			}
		}
	}
	return name
}

// Map renders docs/map.md: which shelf holds what of a feature, and every package with its sentence.
func Map(all []Package) string {
	all = slices.DeleteFunc(slices.Clone(all), func(p Package) bool { return len(p.GoFiles) == 0 })
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.ImportPath, b.ImportPath) })

	var b strings.Builder
	b.WriteString("# Map\n\nWritten by `make generate` from the package comments; do not edit.\n" +
		"How the shelves relate is told in [architecture.md](architecture.md).\n\n## Features by shelf\n\n")
	featureTable(&b, all)
	for _, s := range shelves {
		var rows []Package
		for _, p := range all {
			if p.Shelf() == s.name {
				rows = append(rows, p)
			}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s: %s\n\n", s.name, s.what)
		for _, p := range rows {
			fmt.Fprintf(&b, "- [`%s`](../%s) %s\n", p.Path(), p.Path(), sentence(p))
		}
	}
	return b.String()
}

// featureTable writes one row per feature and one column per shelf that has packages of a feature.
func featureTable(b *strings.Builder, all []Package) {
	cells := make(map[[2]string][]string) // feature, shelf
	var rows, columns []string
	for _, f := range features {
		rows = append(rows, f.name)
	}
	for _, p := range all {
		f := featureOf(p.Path())
		if !slices.Contains(rows, f) {
			rows = append(rows, f)
		}
		key := [2]string{f, p.Shelf()}
		cells[key] = append(cells[key], "`"+within(p)+"`")
	}
	for _, s := range shelves {
		if slices.ContainsFunc(all, func(p Package) bool { return p.Shelf() == s.name }) {
			columns = append(columns, s.name)
		}
	}
	fmt.Fprintf(b, "| feature | %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)+1))
	for _, row := range rows {
		line, empty := "| "+row+" |", true
		for _, c := range columns {
			cell := strings.Join(cells[[2]string{row, c}], " ")
			empty = empty && cell == ""
			line += strings.TrimRight(" "+cell, " ") + " |"
		}
		if !empty {
			b.WriteString(line + "\n")
		}
	}
}

// within is the package's place inside its shelf.
func within(p Package) string {
	if _, rest, ok := strings.Cut(p.Path(), "/"); ok {
		return rest
	}
	return p.Path()
}

// sentence is the package comment's first sentence without "Package name".
func sentence(p Package) string {
	words := strings.SplitN(p.Doc, " ", 3)
	if len(words) < 3 {
		return "(no package comment)"
	}
	return words[2]
}
