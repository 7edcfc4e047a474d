package objects

import (
	"cmp"
	"net/netip"
	"strings"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
)

// Plan returns the plan of a set with its hosts. It does not judge them.
func Plan(s v1alpha1.Set) addressplan.Plan {
	spec := s.Plan.Spec
	p := addressplan.Plan{
		Name:   s.Plan.ObjectName(),
		Prefix: spec.Prefix.Prefix,
		Lengths: addressplan.Lengths{
			Fabric:      spec.Levels.Fabric,
			Cluster:     spec.Levels.Cluster,
			EdgeCluster: spec.Levels.EdgeCluster,
			Rack:        spec.Levels.Rack,
			Host:        spec.Levels.Host,
		},
		Sealed:     spec.HostPart == v1alpha1.HostPartSealed,
		Lab:        spec.Lab,
		AdoptHosts: cmp.Or(spec.HostPrefixes, s.Plan.Status.HostPrefixes) == v1alpha1.HostPrefixesAdopt,
		Rest:       addressplan.Seconds(spec.Rest.Seconds()),
		SpineASN:   spec.ASN.Spine,
		RouterIDs:  map[string]netip.Addr{},
	}
	if spec.IPv4 != nil {
		p.IPv4 = addressplan.IPv4{Prefix: spec.IPv4.Prefix.Prefix, HostLength: spec.IPv4.HostLength}
	}
	for name, id := range spec.RouterIDs {
		p.RouterIDs[name] = id.Addr
	}
	for _, c := range spec.Clusters {
		p.Clusters = append(p.Clusters, cluster(c))
	}
	for _, h := range s.Hosts {
		p.Hosts = append(p.Hosts, planHost(s.Plan, h))
	}
	return p
}

func cluster(c v1alpha1.Cluster) addressplan.Cluster {
	out := addressplan.Cluster{Name: c.Name, Number: uint64(c.Number), Edge: c.Edge, Prefix: c.Prefix.Prefix}
	for _, r := range c.Racks {
		out.Racks = append(out.Racks, addressplan.Rack{Name: r.Name, Number: uint64(r.Number), ASN: r.ASN})
	}
	return out
}

// place finds for each problem of the plan the document and the field.
func place(s v1alpha1.Set, found []addressplan.Problem) (out v1alpha1.Problems) {
	for _, p := range found {
		var o v1alpha1.Object = s.Plan
		if name, ok := strings.CutPrefix(p.Object, "host "); ok {
			if h, ok := s.Host(name); ok {
				o = h
			}
		}
		field := "spec"
		if p.Field != "" {
			field += "." + p.Field
		}
		q := v1alpha1.ProblemAt(o, field, p.Text, "")
		// The model says what is wrong and what comes next in one text.
		if cut := strings.LastIndex(p.Text, ": "); cut >= 0 {
			q.What, q.Next = p.Text[:cut], p.Text[cut+2:]
		}
		if p.Warning {
			q.Severity = v1alpha1.Warning
		}
		out = append(out, q)
	}
	return out
}
