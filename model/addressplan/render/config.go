package render

import (
	"fmt"
	"maps"
	"slices"

	"hexapod.dev/model/addressplan"
)

// Config writes a new plan in Hexapod's own words, with comments: plan.yaml, and hosts.yaml if there are hosts. sealKeyFile is
// where a sealed plan finds its key, relative to the folder of the files. A plan with retired hosts is not new: it is refused,
// because their records live in the folder that has them.
func Config(p addressplan.Plan, sealKeyFile string) ([]File, error) {
	for _, h := range p.Hosts {
		if h.Retired {
			return nil, fmt.Errorf("write plan %s: host %s is retired, so the plan is in use: change its own files", p.Name, h.Name)
		}
	}
	files := []File{{"plan.yaml", planText(p, sealKeyFile)}}
	if len(p.Hosts) > 0 {
		files = append(files, File{"hosts.yaml", hostsText(p.Hosts)})
	}
	return files, nil
}

func planText(p addressplan.Plan, sealKeyFile string) string {
	t := &text{}
	t.line("# Address plan of fabric %s.", p.Name)
	if p.Sealed {
		t.line("# Sealed: outsiders see which host an address belongs to and nothing else; who and when need the fabric's key.")
	} else {
		t.line("# Readable: an address tells everybody who sees it its host, the number of its workload and its birth time.")
		t.line("# The alternative is `hostPart: sealed`. It is chosen now: it cannot change while a host lives.")
	}
	t.line("apiVersion: hexapod.dev/v1alpha1\nkind: AddressPlan\nmetadata:\n  name: %s\nspec:\n  # All of it is announced to the outside as one.\n  prefix: %s", p.Name, p.Prefix)
	t.line("  levels:")
	t.line("    fabric: %d", p.Lengths.Fabric)
	for _, n := range p.Capacity() {
		name := n.Level.String()
		if n.Edge {
			name = "edgeCluster"
		}
		t.line("    %s: %d # %s", name, n.Bits, counted(n, p.Lengths))
	}
	if p.Lab {
		t.line("  # Documentation prefixes are allowed here, because no real network ever uses them.\n  lab: true")
	}
	if p.Sealed {
		t.line("  hostPart: sealed\n  # 16 random bytes in hexadecimal, the same on all hosts: keep it as you keep passwords.\n  sealKeyFile: %s", sealKeyFile)
	} else {
		t.line("  hostPart: readable")
	}
	t.line("  # How long the prefix of a host that is gone stays unused.\n  rest: %s", span(p.Rest))
	if p.SpineASN != 0 {
		t.line("  asn:\n    spine: %d", p.SpineASN)
	}
	if p.IPv4.Prefix.IsValid() {
		t.line("  ipv4:\n    prefix: %s\n    hostLength: %d", p.IPv4.Prefix, p.IPv4.HostLength)
	}
	if len(p.RouterIDs) > 0 {
		t.line("  routerIDs:")
	}
	for _, name := range slices.Sorted(maps.Keys(p.RouterIDs)) {
		t.line("    %s: %s", name, p.RouterIDs[name])
	}
	t.line("  # Rack 0 of each cluster is kept for services, pools and NAT64; racks of hosts count from 1.\n  clusters:")
	for _, c := range p.Clusters {
		clusterText(t, c)
	}
	return t.String()
}

func clusterText(t *text, c addressplan.Cluster) {
	t.line("    - name: %s\n      number: %d", c.Name, c.Number)
	if c.Edge {
		t.line("      edge: true")
	}
	if c.Prefix.IsValid() {
		t.line("      prefix: %s", c.Prefix)
	}
	if len(c.Racks) > 0 {
		t.line("      racks:")
	}
	for _, r := range c.Racks {
		asn := ""
		if r.ASN != 0 {
			asn = fmt.Sprintf(", asn: %d", r.ASN)
		}
		t.line("        - {name: %s, number: %d%s}", r.Name, r.Number, asn)
	}
}

func hostsText(hosts []addressplan.Host) string {
	t := &text{}
	for i, h := range hosts {
		if i > 0 {
			t.line("---")
		}
		t.line("apiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata:\n  name: %s\nspec:\n  cluster: %s\n  rack: %s", h.Name, h.Cluster, h.Rack)
		if h.Adopted {
			t.line("  prefix: %s", h.Prefix)
		} else {
			t.line("  number: %d", h.Number)
		}
		if h.MAC != "" {
			t.line("  mac: %q", h.MAC)
		}
	}
	return t.String()
}

// span writes a length of time in one unit, as configuration takes it.
func span(s addressplan.Seconds) string {
	if s%addressplan.Day == 0 {
		return fmt.Sprintf("%dd", s/addressplan.Day)
	}
	return fmt.Sprintf("%ds", s)
}

func counted(n addressplan.LevelCount, l addressplan.Lengths) string {
	switch {
	case n.Edge && l.EdgeCluster == l.Cluster:
		return "the same: no edge clusters"
	case n.Edge:
		return fmt.Sprintf("or %d edge clusters", n.Each)
	case n.Level == addressplan.LevelCluster:
		return plural(n.Each, "cluster")
	case n.Level == addressplan.LevelRack:
		return plural(n.Each, "rack") + " in a cluster"
	}
	return plural(n.Each, "host") + " in a rack"
}

func plural(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
