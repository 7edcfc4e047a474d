package controller

import (
	"net/netip"

	"hexapod.dev/api/v1alpha1"
)

func pfx(s string) v1alpha1.Prefix { return v1alpha1.PrefixFrom(netip.MustParsePrefix(s)) }

func address(s string) v1alpha1.Addr { return v1alpha1.AddrFrom(netip.MustParseAddr(s)) }

// labPlan has racks of 1,024 hosts.
func labPlan() v1alpha1.AddressPlanSpec {
	return v1alpha1.AddressPlanSpec{Prefix: pfx("2001:db8:a000::/37"), Lab: true,
		Clusters: []v1alpha1.Cluster{{Name: "main", Number: 1, Racks: []v1alpha1.Rack{{Name: "east", Number: 3}}}}}
}
