// Package cluster is a real Kubernetes on one machine: a control plane and workers in namespaces, for upstream's own tests and for people.
//
// Every node is a machine of its own (package place): the API server, kubelet, containerd and runc on it are the real ones and use their
// default paths. The machine's own network, mounts and files stay as they are; everything lives below one cgroup and one folder,
// so `down` works after any crash.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hexapod.dev/lab/place"
	"hexapod.dev/test/cluster/build"
)

// Networks that a cluster can have.
const (
	Hexapod = "hexapod" // ours
	PTP     = "ptp"     // the stock plugin and static routes, as a reference
	None    = "none"    // nothing: the nodes stay not ready until somebody installs one
)

// Who gives a node its prefix.
const (
	Plan  = "plan"  // Hexapod, from its address plan
	Adopt = "adopt" // Kubernetes; Hexapod takes what is there
)

// Families of addresses.
const (
	IPv6 = "ipv6"
	Dual = "dual"
)

// Fabrics below a cluster.
const (
	Flat = "flat" // all nodes on one link
	BGP  = "bgp"  // racks behind routers that speak BGP
)

// Options say what to bring up.
type Options struct {
	Name         string `json:"name"`
	Workers      int    `json:"workers"`      // nodes beside the control plane
	Family       string `json:"family"`       // IPv6 or Dual
	Network      string `json:"network"`      // Hexapod, PTP or None
	Fabric       string `json:"fabric"`       // Flat or BGP
	HostPrefixes string `json:"hostPrefixes"` // Plan or Adopt
	HostBits     int    `json:"hostBits"`     // length of a node's IPv6 prefix: 64, or with Adopt 80, 96 or 112
	KubeProxy    bool   `json:"kubeProxy"`    // upstream's kube-proxy (nftables) serves Services
	Internet     string `json:"internet"`     // NoInternet or IPv4Internet
	Programs     string `json:"programs"`     // folder of Hexapod's programs
}

// maxWorkers keep addresses and memory in bounds: a node takes about 250 MB.
const maxWorkers = 9

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,20}$`)

// Check refuses options that mean nothing.
func (o Options) Check() error {
	var errs error
	if !goodName.MatchString(o.Name) {
		errs = errors.Join(errs, fmt.Errorf("NAME %q: want at most 21 lower-case letters, digits and dashes", o.Name))
	}
	if o.Workers < 1 || o.Workers > maxWorkers {
		errs = errors.Join(errs, fmt.Errorf("NODES %d: want one control plane and 1 to %d workers", o.Workers+1, maxWorkers))
	}
	for _, c := range []struct {
		knob, value string
		known       []string
	}{
		{"FAMILY", o.Family, []string{IPv6, Dual}},
		{"NETWORK", o.Network, []string{Hexapod, PTP, None}},
		{"FABRIC", o.Fabric, []string{Flat, BGP}},
		{"HOSTPREFIXES", o.HostPrefixes, []string{Plan, Adopt}},
		{"INTERNET", o.Internet, []string{NoInternet, IPv4Internet}},
	} {
		if !slices.Contains(c.known, c.value) {
			errs = errors.Join(errs, fmt.Errorf("%s %q: want %s", c.knob, c.value, strings.Join(c.known, " or ")))
		}
	}
	if !slices.Contains([]int{64, 80, 96, 112}, o.HostBits) || o.HostBits != 64 && o.HostPrefixes != Adopt {
		errs = errors.Join(errs, fmt.Errorf("HOSTBITS %d: want 64, or with HOSTPREFIXES=adopt 80, 96 or 112", o.HostBits))
	}
	if o.Network == PTP && o.HostPrefixes != Adopt {
		errs = errors.Join(errs, errors.New("NETWORK=ptp takes its prefixes from Kubernetes: HOSTPREFIXES must be adopt"))
	}
	if o.Fabric == BGP && (o.Network != Hexapod || o.HostPrefixes != Plan || o.Family != IPv6) {
		errs = errors.Join(errs, errors.New("FABRIC=bgp announces prefixes of racks: it goes with NETWORK=hexapod, HOSTPREFIXES=plan and FAMILY=ipv6"))
	}
	if o.Internet == IPv4Internet && (o.Fabric != BGP || o.Workers <= gateways) {
		errs = errors.Join(errs, fmt.Errorf("INTERNET=ipv4: %d workers are gateways and tell the others by BGP: it goes with FABRIC=bgp and NODES=%d or more", gateways, gateways+2))
	}
	return errs
}

// Kind names the knobs that are not as they are by default, for results of several kinds of clusters side by side: plan, adopt,
// plan/bgp, plan/dual, adopt/112, ptp.
func (o Options) Kind() string {
	words := []string{o.HostPrefixes}
	if o.Network != Hexapod {
		words = []string{o.Network}
	}
	if o.Fabric != Flat {
		words = append(words, o.Fabric)
	}
	if o.Family != IPv6 {
		words = append(words, o.Family)
	}
	if o.HostBits != 64 {
		words = append(words, strconv.Itoa(o.HostBits))
	}
	if !o.KubeProxy {
		words = append(words, "own-services")
	}
	if o.Internet == IPv4Internet {
		words = append(words, "internet")
	}
	return strings.Join(words, "/")
}

// Cluster is one cluster of this machine.
type Cluster struct {
	Options Options

	cache  build.Cache
	dir    string // everything of this cluster on disk
	tree   *place.Tree
	group  place.Group
	legacy place.Legacy
	report func(string)
}

// DefaultName is the name of a cluster that was given none.
const DefaultName = "cluster"

// locate prepares a cluster without looking whether it exists.
func locate(cache build.Cache, name string) (*Cluster, error) {
	if !goodName.MatchString(name) {
		return nil, Options{Name: name, Workers: 1, Family: IPv6, Network: None, Fabric: Flat, HostPrefixes: Plan, HostBits: 64, Internet: NoInternet}.Check()
	}
	tree, err := place.OpenTree()
	if err != nil {
		return nil, err
	}
	legacy, err := tree.Legacy("hexapod-cluster-" + name)
	if err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return &Cluster{
		Options: Options{Name: name}, cache: cache, dir: filepath.Join(cache.Root, "run", name),
		tree: tree, group: tree.Group("hexapod-cluster-" + name), legacy: legacy, report: func(string) {},
	}, nil
}

// ErrNotUp tells that there is no such cluster.
var ErrNotUp = errors.New("is not up; `make cluster` makes it")

// Open finds a cluster, also one that was not finished. The caller closes it.
func Open(cache build.Cache, name string) (*Cluster, error) {
	c, err := locate(cache, name)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(c.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("cluster %s %w", name, ErrNotUp), c.Close())
	}
	if err == nil {
		err = json.Unmarshal(text, &c.Options)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the state of cluster %s: %w", name, err), c.Close())
	}
	return c, nil
}

// Close gives up what the process holds of a cluster. The cluster stays as it is.
func (c *Cluster) Close() error { return c.tree.Close() }

// Kubeconfig is the file by which clients are the cluster's administrator. Its server is reached from the router and the nodes.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "pki", "admin.conf") }

// Logs is the one folder of all logs: NODE-COMPONENT.log.
func (c *Cluster) Logs() string { return filepath.Join(c.dir, "logs") }

func (c *Cluster) stateFile() string { return filepath.Join(c.dir, "cluster.json") }

// save writes what Open needs.
func (c *Cluster) save() error {
	text, err := json.MarshalIndent(c.Options, "", "  ")
	if err == nil {
		err = os.WriteFile(c.stateFile(), text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the state of cluster %s: %w", c.Options.Name, err)
	}
	return nil
}

// Router is the machine that the nodes' network leads to; clients and tests run there.
const Router = "router"

// controlPlane is the node that runs the API server and what belongs to it.
const controlPlane = "cp"

// Nodes lists the control plane and the workers.
func (c *Cluster) Nodes() []string {
	nodes := []string{controlPlane}
	for i := range c.Options.Workers {
		nodes = append(nodes, fmt.Sprintf("w%d", i+1))
	}
	return nodes
}

// all are the machines of the cluster.
func (c *Cluster) all() []string { return slices.Concat(c.routers(), c.worldly(), c.Nodes()) }

// place is a machine of the cluster. Routers need no processes or cgroups of its own.
func (c *Cluster) place(machine string) place.Place {
	p := place.Place{Name: machine, Group: c.group.Sub(machine)}
	if slices.Contains(c.Nodes(), machine) {
		p.Whole, p.Legacy = true, c.legacy.Sub(machine)
	}
	return p
}

// machine finds a machine by name.
func (c *Cluster) machine(name string) (place.Place, error) {
	if all := c.all(); !slices.Contains(all, name) {
		return place.Place{}, fmt.Errorf("cluster %s has no machine %q: it has %s", c.Options.Name, name, strings.Join(all, ", "))
	}
	return c.place(name), nil
}

// folder is a folder of a machine's own, by the name under which the cluster keeps it.
func (c *Cluster) folder(machine string, words ...string) string {
	return filepath.Join(append([]string{c.dir, "machines", machine}, words...)...)
}

// Disk is where a folder of a node's own disk lies on the machine: /var/lib/hexapod and others that components keep by default.
func (c *Cluster) Disk(node, dir string) string { return c.folder(node, dir) }
