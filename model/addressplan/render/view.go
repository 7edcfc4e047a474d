package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/prefix"
)

// view looks at a plan from the place of one router.
type view struct {
	plan addressplan.Plan
	opts Options
}

// hostView is a living host as its neighbours see it.
type hostView struct {
	name     string
	prefix   netip.Prefix
	parts    addressplan.Parts
	port     string // of the ToR
	number   uint64
	adopted  bool
	rack     string // "cluster/rack"
	asn      uint32
	routerID netip.Addr
	mac      string
}

// rackView is a rack as its hosts and its spine see it.
type rackView struct {
	cluster  addressplan.Cluster
	rack     addressplan.Rack
	prefix   netip.Prefix
	asn      uint32
	hostASN  uint32
	routerID netip.Addr
	loopback netip.Addr // invalid: role prefix too narrow
	port     string     // of the spine
	hosts    []hostView
	moving   []netip.Prefix // prefixes whose single addresses any host of the cluster may hold
	pref64   []netip.Prefix // that carry IPv4 addresses: the cluster's own, and those that translators announce
}

func (r rackView) name() string { return r.cluster.Name + "/" + r.rack.Name }

// adopted returns the prefixes of the rack's hosts that lie outside the rack's own.
func (r rackView) adopted() []netip.Prefix {
	var ps []netip.Prefix
	for _, h := range r.hosts {
		if h.adopted {
			ps = append(ps, h.prefix)
		}
	}
	return ps
}

// racks returns every rack in order of prefix.
func (v view) racks() ([]rackView, error) {
	var all []rackView
	for _, c := range v.plan.Clusters {
		for _, r := range c.Racks {
			rv, err := v.rackView(c, r)
			if err != nil {
				return nil, err
			}
			all = append(all, rv)
		}
	}
	slices.SortFunc(all, func(a, b rackView) int { return prefix.Compare(a.prefix, b.prefix) })
	for i := range all {
		if all[i].port = v.opts.Ports[all[i].name()]; all[i].port == "" {
			all[i].port = fmt.Sprintf("swp%d", i+1)
		}
	}
	return all, nil
}

// rack finds the rack of a reference as in [Scope].
func (v view) rack(ref string) (rackView, error) {
	cluster, name, ok := strings.Cut(ref, "/")
	if !ok && len(v.plan.Clusters) == 1 {
		cluster, name = v.plan.Clusters[0].Name, ref
	} else if !ok {
		return rackView{}, fmt.Errorf("rack %q: the plan has %d clusters, so write CLUSTER/RACK", ref, len(v.plan.Clusters))
	}
	c, err := v.plan.Cluster(cluster)
	if err != nil {
		return rackView{}, err
	}
	r, err := c.Rack(name)
	if err != nil {
		return rackView{}, err
	}
	return v.rackView(c, r)
}

func (v view) rackView(c addressplan.Cluster, r addressplan.Rack) (rackView, error) {
	rv := rackView{cluster: c, rack: r}
	var err error
	if rv.prefix, err = v.plan.RackPrefix(c, r.Number); err != nil {
		return rv, err
	}
	if rv.asn, rv.hostASN, err = v.plan.RackASN(c, r); err != nil {
		return rv, err
	}
	// A fabric too wide for router ids can still be written for programs that need none.
	if id, err := v.plan.ToRRouterID(c, r); err == nil {
		rv.routerID = id
	}
	if a, err := v.plan.ToRLoopback(c, r); err == nil {
		rv.loopback = a
	}
	for _, role := range []addressplan.Role{addressplan.RoleServices, addressplan.RoleLoadBalancer, addressplan.RoleFixed} {
		if q, err := v.plan.RolePrefix(c, role); err == nil {
			rv.moving = append(rv.moving, q)
		}
	}
	if q, err := v.plan.RolePrefix(c, addressplan.RolePref64); err == nil {
		rv.pref64 = []netip.Prefix{q}
	}
	for _, q := range v.opts.translated(true) {
		if !slices.Contains(rv.pref64, q) {
			rv.pref64 = append(rv.pref64, q)
		}
	}
	for _, h := range v.plan.Hosts {
		hc, hr, err := v.plan.Place(h)
		if err != nil || h.Retired || h.Delegated || hc.Name != c.Name || hr.Name != r.Name {
			continue
		}
		hv, err := v.hostView(h, rv)
		if err != nil {
			return rv, err
		}
		rv.hosts = append(rv.hosts, hv)
	}
	slices.SortFunc(rv.hosts, func(a, b hostView) int { return prefix.Compare(a.prefix, b.prefix) })
	return rv, nil
}

func (v view) hostView(h addressplan.Host, r rackView) (hostView, error) {
	hv := hostView{name: h.Name, number: h.Number, adopted: h.Adopted, rack: r.name(), asn: r.hostASN, mac: h.MAC}
	var err error
	if hv.prefix, err = v.plan.PrefixOf(h); err != nil {
		return hv, err
	}
	if hv.parts, err = addressplan.PartsOf(hv.prefix); err != nil {
		return hv, err
	}
	if id, err := v.plan.RouterIDOf(h); err == nil {
		hv.routerID = id
	}
	hv.port = v.opts.Ports[h.Name]
	switch {
	case hv.port != "":
	case h.Adopted:
		hv.port = "swp-" + h.Name
		if len(hv.port) > 15 { // IFNAMSIZ less the final zero
			return hv, fmt.Errorf("host %s has no number in its rack: say at which port of the ToR it is", h.Name)
		}
	default:
		hv.port = fmt.Sprintf("swp%d", h.Number+1)
	}
	return hv, nil
}

// host finds a living host and its rack.
func (v view) host(name string) (hostView, rackView, error) {
	h, err := v.plan.Host(name)
	if err != nil {
		return hostView{}, rackView{}, err
	}
	if h.Delegated {
		_, err := v.plan.PrefixOf(h)
		return hostView{}, rackView{}, err
	}
	c, r, err := v.plan.Place(h)
	if err != nil {
		return hostView{}, rackView{}, err
	}
	rv, err := v.rackView(c, r)
	if err != nil {
		return hostView{}, rackView{}, err
	}
	i := slices.IndexFunc(rv.hosts, func(h hostView) bool { return h.name == name })
	return rv.hosts[i], rv, nil
}

// spineASN returns the number of the spine, which no plan can guess.
func (v view) spineASN() (uint32, error) {
	if v.plan.SpineASN == 0 {
		return 0, fmt.Errorf("plan %s has no AS number for the spine: set spec.asn.spine", v.plan.Name)
	}
	return v.plan.SpineASN, nil
}

// owned returns the fabric and every cluster that lies outside it: what is inside from outside.
func (v view) owned() ([]netip.Prefix, error) {
	owned := []netip.Prefix{v.plan.Prefix}
	for _, c := range v.plan.Clusters {
		q, err := v.plan.ClusterPrefix(c)
		if err != nil {
			return nil, err
		}
		if !prefix.ContainsPrefix(v.plan.Prefix, q) {
			owned = append(owned, q)
		}
	}
	for _, h := range v.plan.Hosts {
		if h.Adopted && !h.Retired && !h.Delegated {
			owned = append(owned, h.Prefix)
		}
	}
	return prefix.NewSet(owned...).Prefixes(), nil
}

// needID says where to get a missing router id.
func needID(id netip.Addr, name string) error {
	if !id.IsValid() {
		return fmt.Errorf("router id of %s: the plan's bits make none: give it in spec.routerIDs", name)
	}
	return nil
}
