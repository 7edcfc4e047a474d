package kube

import (
	"fmt"
	"net/netip"
	"testing"

	"hexapod.dev/api/v1alpha1"
)

// BenchmarkSet is what one change of an object costs the agent of a cluster of 5,000 hosts and 2,000 identities.
func BenchmarkSet(b *testing.B) {
	all := []v1alpha1.Object{v1alpha1.NewAddressPlan("lab", v1alpha1.AddressPlanSpec{
		Prefix: v1alpha1.PrefixFrom(netip.MustParsePrefix("2001:db8:8000::/37")), Lab: true,
		Clusters: []v1alpha1.Cluster{{Name: "home", Number: 1}}})}
	for i := range 5000 {
		n := uint32(i % 1000)
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, 14: byte(i >> 8), 15: byte(i)})
		all = append(all, v1alpha1.NewHost(fmt.Sprintf("h%d", i), v1alpha1.HostSpec{
			Rack: v1alpha1.Ref(fmt.Sprint(1 + i/1000)), Number: &n, Addresses: []v1alpha1.Addr{v1alpha1.AddrFrom(addr)}}))
	}
	for i := range 2000 {
		all = append(all, v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: uint32(256 + i), Namespace: "shop", Labels: map[string]string{"app": fmt.Sprint(i)}}))
	}
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		set, left, err := usable(all, dir, "")
		if err != nil || left != "" || len(set.Objects.Hosts) != 5000 {
			b.Fatal(len(set.Objects.Hosts), left, err)
		}
		if _, err := set.Config("h7"); err != nil {
			b.Fatal(err)
		}
	}
}
