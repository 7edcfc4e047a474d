package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"

	"hexapod.dev/model/addressplan"
)

// Everything of a plan as JSON. SHA256 is that of the text with the field itself empty, so that two files can be compared by
// one word.
type machinePlan struct {
	SHA256   string              `json:"sha256"`
	Name     string              `json:"name"`
	Prefix   netip.Prefix        `json:"prefix"`
	Lengths  addressplan.Lengths `json:"lengths"`
	HostPart string              `json:"hostPart"`
	Spine    uint32              `json:"spineASN,omitempty"`
	Clusters []machineCluster    `json:"clusters"`
}

type machineCluster struct {
	Name   string                  `json:"name"`
	Edge   bool                    `json:"edge,omitempty"`
	Prefix netip.Prefix            `json:"prefix"`
	Roles  map[string]netip.Prefix `json:"roles"`
	Racks  []machineRack           `json:"racks"`
}

type machineRack struct {
	Name     string        `json:"name"`
	Number   uint64        `json:"number"`
	Prefix   netip.Prefix  `json:"prefix"`
	ASN      uint32        `json:"asn"`
	HostASN  uint32        `json:"hostASN"`
	RouterID netip.Addr    `json:"routerID,omitzero"`
	Loopback netip.Addr    `json:"loopback,omitzero"`
	Hosts    []machineHost `json:"hosts"`
}

type machineHost struct {
	Name     string       `json:"name"`
	Number   *uint64      `json:"number,omitempty"` // none: the prefix is adopted
	Prefix   netip.Prefix `json:"prefix"`
	Router   netip.Addr   `json:"router"`
	Locator  netip.Prefix `json:"locator,omitzero"`
	RouterID netip.Addr   `json:"routerID,omitzero"`
	IPv4     netip.Prefix `json:"ipv4,omitzero"`
	MAC      string       `json:"mac,omitempty"`
}

func machine(v view, _ Scope) ([]File, error) {
	m := machinePlan{Name: v.plan.Name, Prefix: v.plan.Prefix, Lengths: v.plan.Lengths, HostPart: "readable", Spine: v.plan.SpineASN, Clusters: []machineCluster{}}
	if v.plan.Sealed {
		m.HostPart = "sealed"
	}
	for _, c := range v.plan.Clusters {
		q, err := v.plan.ClusterPrefix(c)
		if err != nil {
			return nil, err
		}
		mc := machineCluster{Name: c.Name, Edge: c.Edge, Prefix: q, Roles: map[string]netip.Prefix{}, Racks: []machineRack{}}
		for _, role := range addressplan.RackRoles() {
			if q, err := v.plan.RolePrefix(c, role); err == nil {
				mc.Roles[string(role)] = q
			}
		}
		for _, r := range c.Racks {
			mr, err := v.machineRack(c, r)
			if err != nil {
				return nil, err
			}
			mc.Racks = append(mc.Racks, mr)
		}
		m.Clusters = append(m.Clusters, mc)
	}
	bare, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(bare)
	m.SHA256 = hex.EncodeToString(sum[:])
	text, err := indented(m)
	return []File{{"plan.json", text}}, err
}

func (v view) machineRack(c addressplan.Cluster, r addressplan.Rack) (machineRack, error) {
	rv, err := v.rackView(c, r)
	if err != nil {
		return machineRack{}, err
	}
	m := machineRack{Name: r.Name, Number: r.Number, Prefix: rv.prefix, ASN: rv.asn, HostASN: rv.hostASN, RouterID: rv.routerID, Loopback: rv.loopback, Hosts: []machineHost{}}
	for _, h := range rv.hosts {
		mh := machineHost{Name: h.name, Prefix: h.prefix, Router: h.parts.Router, Locator: h.parts.Locator, RouterID: h.routerID, MAC: h.mac}
		if !h.adopted {
			n := h.number
			mh.Number = &n
			if q, err := v.plan.HostIPv4(h.prefix); err == nil {
				mh.IPv4 = q
			}
		}
		m.Hosts = append(m.Hosts, mh)
	}
	return m, nil
}
