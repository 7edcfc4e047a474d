package lab

import (
	"errors"
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

	spineASN = 4200000000 // that of rack 0, which has no ToR
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
		Rest: addressplan.DefaultRest, Clusters: []addressplan.Cluster{c}, SpineASN: spineASN,
	}
	for _, h := range hosts {
		p.Hosts = append(p.Hosts, addressplan.Host{Name: h.Name, Cluster: clusterName, Rack: rackName(h.Rack), Number: uint64(h.Number)})
	}
	return p
}

func rackName(rack int) string { return fmt.Sprintf("rack%d", rack) }

// planFile is the file of the address plan.
const planFile = "plan.yaml"

// objects is the configuration of a lab, one slice per file. It is the same on all hosts.
func (s *state) objects() map[string][]v1alpha1.Object {
	size := s.Size
	files := map[string][]v1alpha1.Object{planFile: {s.plan()}}
	if len(s.Published) > 0 {
		files[publicationsFile] = s.publications()
	}
	for n := range size.Uplinks() {
		name := topology.UplinkName(n)
		spec := v1alpha1.BGPPeerSpec{Interface: name, AllowDefault: true}
		if s.BFD {
			spec.BFD = &v1alpha1.BFD{}
		}
		files["peers.yaml"] = append(files["peers.yaml"], v1alpha1.NewBGPPeer("tor-"+name, spec))
	}
	for _, h := range s.Hosts {
		number := uint32(h.Number)
		var uplinks []v1alpha1.Uplink
		for n := range size.Uplinks() {
			uplinks = append(uplinks, v1alpha1.Uplink{Name: topology.UplinkName(n), Address: v1alpha1.AddrFrom(topology.Below)})
		}
		files["hosts.yaml"] = append(files["hosts.yaml"], v1alpha1.NewHost(h.Name, v1alpha1.HostSpec{
			Cluster: clusterName, Rack: v1alpha1.Ref(rackName(h.Rack)), Number: &number,
			Uplinks: uplinks, Clock: v1alpha1.ClockTrusted,
		}))
	}
	for i, k := range kinds {
		files["identities.yaml"] = append(files["identities.yaml"], v1alpha1.NewIdentity(v1alpha1.IdentitySpec{
			Number: uint32(v1alpha1.MinIdentity + i), Namespace: k.namespace, Labels: k.labels, KeyVersion: 1,
		}))
	}
	return files
}

// Configure adds a file of objects to the configuration of every host there is, or replaces it.
func (l *Lab) Configure(name string, text []byte) error {
	for _, h := range l.state.Hosts {
		if err := l.writeConfigFile(h.Name, name, text); err != nil {
			return err
		}
	}
	return nil
}

// writeConfigFile replaces a file in one step, as the agent watches the folder.
func (l *Lab) writeConfigFile(host, name string, text []byte) error {
	path := filepath.Join(l.folder(host, "etc"), name)
	if err := errors.Join(os.WriteFile(path+".new", text, 0o644), os.Rename(path+".new", path)); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", host, err)
	}
	return nil
}

// writeObjects writes one file of the configuration of every host.
func (l *Lab) writeObjects(name string, objects ...v1alpha1.Object) error {
	text, err := v1alpha1.Encode(objects...)
	if err != nil {
		return err
	}
	return l.Configure(name, text)
}

// writeConfig writes the configuration folder of every host.
func (l *Lab) writeConfig() error {
	for name, list := range l.state.objects() {
		if err := l.writeObjects(name, list...); err != nil {
			return err
		}
	}
	return nil
}
