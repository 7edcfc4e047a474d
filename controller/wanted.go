package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// wantHost is what others are to know of a host: where it is, what its prefixes are, and by which addresses it is reached.
func wantHost(node *objects.Node, report *v1alpha1.HostStatus, g given) v1alpha1.HostSpec {
	p := g.ipv6
	s := v1alpha1.HostSpec{Cluster: p.Spec.Cluster, Rack: p.Spec.Rack, Number: p.Spec.Number, Prefix: p.Spec.Prefix, BornAfter: p.Status.Witness}
	if g.ipv4 != nil {
		s.IPv4Prefix = g.ipv4.Spec.Prefix
	}
	addresses := nodeAddresses(node)
	if report != nil {
		s.MAC, s.Uplinks = report.Status.MAC, report.Status.Uplinks
		for _, a := range report.Status.Addresses {
			addresses = append(addresses, a.Addr)
		}
	}
	for _, a := range addresses {
		if a.Is6() && !a.IsLinkLocalUnicast() && !p.Spec.Prefix.Contains(a) && !slices.Contains(s.Addresses, v1alpha1.AddrFrom(a)) {
			s.Addresses = append(s.Addresses, v1alpha1.AddrFrom(a))
		}
	}
	slices.SortFunc(s.Addresses, func(a, b v1alpha1.Addr) int { return a.Compare(b.Addr) })
	return s
}

// nodeAddresses are the addresses of a node in its own order; names are left out.
func nodeAddresses(n *objects.Node) (all []netip.Addr) {
	for _, a := range n.Status.Addresses {
		if a.Type != "InternalIP" && a.Type != "ExternalIP" {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			all = append(all, ip.Unmap())
		}
	}
	return all
}

// judgeAddresses says what is wrong with the addresses of a node. Kubernetes takes the first InternalIP for the node's own: pods of the
// host network get it as theirs, and never another one.
func judgeAddresses(n *objects.Node) *Problem {
	var internal []netip.Addr
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == "InternalIP" {
			internal = append(internal, ip.Unmap())
		}
	}
	switch first6 := slices.IndexFunc(internal, netip.Addr.Is6); {
	case first6 < 0:
		return &Problem{Why: NoIPv6Address, Text: "status.addresses has no IPv6 InternalIP: kubelet started before the address came, or with an IPv4 --node-ip; start it with --node-ip=::"}
	case first6 > 0:
		return &Problem{Why: IPv4First, Text: fmt.Sprintf("status.addresses begins with %s and has %s after it: pods of the host network get the IPv4 address first; start kubelet with --node-ip=%s",
			internal[0], internal[first6], internal[first6])}
	}
	return nil
}

// stalePods finds pods of the host network whose addresses their node does not have any more. A kubelet never corrects them.
func stalePods(pods []*objects.Pod, node func(name string) (*objects.Node, bool)) map[string][]objects.Key {
	stale := map[string][]objects.Key{}
	for _, p := range pods {
		n, ok := node(p.Spec.NodeName)
		if !ok || p.Status.Phase != "Running" || len(p.Status.PodIPs) == 0 {
			continue
		}
		have := nodeAddresses(n)
		for _, ip := range p.Status.PodIPs {
			if a, err := netip.ParseAddr(ip.IP); err == nil && len(have) > 0 && !slices.Contains(have, a.Unmap()) {
				stale[p.Spec.NodeName] = append(stale[p.Spec.NodeName], objects.KeyOf(&p.Header))
				break
			}
		}
	}
	return stale
}

// staleText lists pods for people, the first few of them.
func staleText(pods []objects.Key) string {
	const most = 10
	slices.SortFunc(pods, func(a, b objects.Key) int { return strings.Compare(a.String(), b.String()) })
	var names []string
	for _, k := range pods[:min(most, len(pods))] {
		names = append(names, k.String())
	}
	text := strings.Join(names, ", ")
	if len(pods) > most {
		text += fmt.Sprintf(" and %d more", len(pods)-most)
	}
	return "pods of the host network have addresses that the node lost: " + text + "; delete them, and they come back with the right ones"
}
