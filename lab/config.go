package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/lab/topology"
	"hexapod.dev/model/addressplan"
)

// The address plan of every lab: a fabric out of the documentation prefix 2001:db8::/32 (RFC 3849), with one cluster.
const (
	clusterName   = "lab"
	clusterNumber = 1
)

var fabricPrefix = netip.MustParsePrefix("2001:db8:8000::/37")

// kind is a sort of workload: what the endpoints of a lab run, in turn.
type kind struct {
	namespace string
	labels    map[string]string
}

var kinds = []kind{
	{"front", map[string]string{"app": "web"}},
	{"back", map[string]string{"app": "api", "tier": "1"}},
	{"back", map[string]string{"app": "db", "tier": "2"}},
}

// Plan is the address plan of the lab, for whoever wants to decode an address without an agent.
func (l *Lab) Plan() addressplan.Plan { return plan(l.state.Size.Racks, l.state.Hosts) }

func plan(racks int, hosts []topology.Host) addressplan.Plan {
	c := addressplan.Cluster{Name: clusterName, Number: clusterNumber}
	for r := 1; r <= racks; r++ {
		c.Racks = append(c.Racks, addressplan.Rack{Name: rackName(r), Number: uint64(r)})
	}
	p := addressplan.Plan{
		Name: "lab", Prefix: fabricPrefix, Lengths: addressplan.DefaultLengths(), Lab: true,
		Rest: addressplan.DefaultRest, Clusters: []addressplan.Cluster{c},
	}
	for _, h := range hosts {
		p.Hosts = append(p.Hosts, addressplan.Host{Name: h.Name, Cluster: clusterName, Rack: rackName(h.Rack), Number: uint64(h.Number)})
	}
	return p
}

func rackName(rack int) string { return fmt.Sprintf("rack%d", rack) }

// prefixes asks the plan for the ranges that the routers forward by.
func prefixes(p addressplan.Plan) (topology.Prefixes, error) {
	out := topology.Prefixes{Fabric: p.Prefix, Rack: map[int]netip.Prefix{}, Host: map[string]netip.Prefix{}}
	for _, k := range p.Clusters[0].Racks {
		prefix, err := p.RackPrefix(p.Clusters[0], k.Number)
		if err != nil {
			return out, fmt.Errorf("plan rack %d: %w", k.Number, err)
		}
		out.Rack[int(k.Number)] = prefix
	}
	for _, h := range p.Hosts {
		prefix, err := p.PrefixOf(h)
		if err != nil {
			return out, fmt.Errorf("plan host %s: %w", h.Name, err)
		}
		out.Host[h.Name] = prefix
	}
	return out, nil
}

// objects is the configuration of a lab, one slice per file. It is the same on all hosts.
func objects(racks int, hosts []topology.Host) map[string][]v1alpha1.Object {
	cluster := v1alpha1.Cluster{Name: clusterName, Number: clusterNumber}
	for r := 1; r <= racks; r++ {
		cluster.Racks = append(cluster.Racks, v1alpha1.Rack{Name: rackName(r), Number: uint32(r)})
	}
	files := map[string][]v1alpha1.Object{
		"plan.yaml": {v1alpha1.NewAddressPlan("lab", v1alpha1.AddressPlanSpec{
			Prefix: v1alpha1.PrefixFrom(fabricPrefix), Lab: true, Clusters: []v1alpha1.Cluster{cluster},
		})},
	}
	for _, h := range hosts {
		number := uint32(h.Number)
		files["hosts.yaml"] = append(files["hosts.yaml"], v1alpha1.NewHost(h.Name, v1alpha1.HostSpec{
			Cluster: clusterName, Rack: v1alpha1.Ref(rackName(h.Rack)), Number: &number,
			Uplinks: []v1alpha1.Uplink{{Name: topology.UplinkName, Address: v1alpha1.AddrFrom(topology.Below), Gateway: v1alpha1.AddrFrom(topology.Above)}},
			Clock:   v1alpha1.ClockTrusted,
		}))
	}
	for i, k := range kinds {
		files["identities.yaml"] = append(files["identities.yaml"], v1alpha1.NewIdentity(v1alpha1.IdentitySpec{
			Number: uint16(v1alpha1.MinIdentity + i), Namespace: k.namespace, Labels: k.labels, KeyVersion: 1,
		}))
	}
	return files
}

// writeConfig writes the configuration folder of every host. Files are replaced in one step, as the agents watch the folder.
func (l *Lab) writeConfig() error {
	for name, list := range objects(l.state.Size.Racks, l.state.Hosts) {
		text, err := v1alpha1.Encode(list...)
		if err != nil {
			return err
		}
		for _, h := range l.state.Hosts {
			path := filepath.Join(l.folder(h.Name, "etc"), name)
			if err := os.WriteFile(path+".new", text, 0o644); err != nil {
				return fmt.Errorf("write the configuration of %s: %w", h.Name, err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				return fmt.Errorf("write the configuration of %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

// rangeOf reads a prefix, or the name of a host or rack, which stands for its prefix.
func (l *Lab) rangeOf(s string) (netip.Prefix, error) {
	p, err := prefixes(l.Plan())
	if err != nil {
		return netip.Prefix{}, err
	}
	if prefix, ok := p.Host[s]; ok {
		return prefix, nil
	}
	for r, prefix := range p.Rack {
		if rackName(r) == s {
			return prefix, nil
		}
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("range %q: want a prefix, or a host or rack of the lab such as r1h1 or rack1", s)
	}
	return prefix, nil
}
