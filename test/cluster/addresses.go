package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Addresses of every cluster. They are from documentation and benchmark ranges (RFC 3849, 5737, 2544) and a random ULA (RFC 4193), and
// live in the cluster's own namespaces: two clusters have the same.
var (
	nodeNet6 = netip.MustParsePrefix("2001:db8:10::/64")
	nodeNet4 = netip.MustParsePrefix("192.0.2.0/24")

	// podNet6 and podNet4 are what Kubernetes gives prefixes of, a /64 (or a longer one, of a range as much longer) and a /24 a node; planNet6 is
	// a cluster of an address plan. At most 16 bits lie between the controller manager's range and its nodes', so it could not
	// serve a plan's /44.
	podNet6  = netip.MustParsePrefix("2001:db8:20::/56")
	fabric6  = netip.MustParsePrefix("2001:db8:8000::/37")
	planNet6 = netip.MustParsePrefix("2001:db8:8010::/44") // its cluster 1
	podNet4  = netip.MustParsePrefix("198.18.0.0/16")

	serviceNet6 = netip.MustParsePrefix("fdc4:7a1e:5b09::/112")
	serviceNet4 = netip.MustParsePrefix("198.19.0.0/20")
)

// domain is the DNS name of every cluster.
const domain = "cluster.local"

// nth is the address n places above the first of a prefix.
func nth(p netip.Prefix, n int) netip.Addr {
	b := p.Addr().AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		n += int(b[i])
		b[i], n = byte(n), n>>8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// dual tells whether there is IPv4 beside IPv6.
func (c *Cluster) dual() bool { return c.Options.Family == Dual }

// families keeps the IPv4 value of a pair only in a dual-stack cluster.
func families[T any](c *Cluster, six, four T) []T {
	if c.dual() {
		return []T{six, four}
	}
	return []T{six}
}

// list is the words of Kubernetes for both families: IPv6,IPv4.
func list[T fmt.Stringer](values []T) string {
	var words []string
	for _, v := range values {
		words = append(words, v.String())
	}
	return strings.Join(words, ",")
}

// addresses of a machine on the nodes' network: router 1, control plane 16, workers from 17.
func (c *Cluster) addresses(machine string) []netip.Prefix {
	n := 1
	if i := slices.Index(c.Nodes(), machine); i >= 0 {
		n = 0x10 + i
	}
	return families(c, netip.PrefixFrom(nth(nodeNet6, n), 64), netip.PrefixFrom(nth(nodeNet4, n), 24))
}

// nodeIPs are the addresses by which the kubelet of a node is known.
func (c *Cluster) nodeIPs(machine string) []netip.Addr {
	var ips []netip.Addr
	for _, p := range c.addresses(machine) {
		ips = append(ips, p.Addr())
	}
	return ips
}

// podNets are the ranges that all pods' addresses come from.
func (c *Cluster) podNets() []netip.Prefix {
	six := netip.PrefixFrom(podNet6.Addr(), podNet6.Bits()+c.Options.HostBits-64)
	if c.Options.HostPrefixes == Plan {
		six = planNet6
	}
	return families(c, six, podNet4)
}

func (c *Cluster) serviceNets() []netip.Prefix { return families(c, serviceNet6, serviceNet4) }

// apiService is the first address of the services: Kubernetes gives it to its own API.
func (c *Cluster) apiServices() []netip.Addr {
	return families(c, nth(serviceNet6, 1), nth(serviceNet4, 1))
}

// dnsService is the address that pods ask for names.
func dnsService() netip.Addr { return nth(serviceNet6, 10) }

// server is the URL of the API server.
func (c *Cluster) server() string {
	return "https://" + netip.AddrPortFrom(c.nodeIPs(controlPlane)[0], 6443).String()
}
