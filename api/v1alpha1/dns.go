package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"
)

// DNS makes every host answer the lookups of its own endpoints, and give names that have IPv4 addresses alone addresses that a NAT64 carries.
type DNS struct {
	// Upstreams are the servers that are asked, as ADDRESS, udp://ADDRESS:PORT, tcp://ADDRESS:PORT or tls://ADDRESS:PORT#NAME. In a
	// cluster they may be left out: then the DNS of the cluster is asked.
	Upstreams []DNSServer `json:"upstreams,omitempty" yaml:"upstreams,omitempty"`
	// Zones have servers of their own.
	Zones []DNSZone `json:"zones,omitempty" yaml:"zones,omitempty"`
	// Prefixes carry IPv4 addresses (RFC 6147 5.2). Left out: those of the Translation, and without one 64:ff9b::/96 for all that are global.
	Prefixes []DNSPrefix `json:"prefixes,omitempty" yaml:"prefixes,omitempty"`
	// Exclude are ranges of IPv6 that count as no address (RFC 6147 5.1.4), beside ::ffff:0:0/96.
	Exclude []Prefix `json:"exclude,omitempty" yaml:"exclude,omitempty"`
	// NeverSynthesise names zones whose names get no addresses but their own. The cluster's domain is always one.
	NeverSynthesise []string `json:"neverSynthesise,omitempty" yaml:"neverSynthesise,omitempty"`
	// Capable are ranges of IPv6 whose endpoints have IPv4 by a way of their own: names get no addresses made for them. Those that have an
	// IPv4 address of Hexapod's need not be named.
	Capable []Prefix `json:"capable,omitempty" yaml:"capable,omitempty"`
	// FilterA keeps A records from endpoints without IPv4.
	FilterA bool `json:"filterA,omitempty" yaml:"filterA,omitempty"`
	// ClusterDomain is the domain of the services of a cluster.
	ClusterDomain string `json:"clusterDomain,omitempty" yaml:"clusterDomain,omitempty"`
	// Service is the namespace and name of the cluster's DNS. Its clients on each host are led to the host.
	Service string `json:"service,omitempty" yaml:"service,omitempty"`
	// CacheMiB is the size of the memory for answers on each host, in MiB.
	CacheMiB int `json:"cacheMiB,omitempty" yaml:"cacheMiB,omitempty"`
}

// DNSZone is a zone with servers of its own.
type DNSZone struct {
	Name      string      `json:"name" yaml:"name"`
	Upstreams []DNSServer `json:"upstreams" yaml:"upstreams"`
}

// DNSPrefix is a prefix that carries IPv4 addresses.
type DNSPrefix struct {
	Prefix Prefix `json:"prefix" yaml:"prefix"`
	// For names the IPv4 ranges it carries; private ones must be named. Left out: all that are global.
	For []Prefix `json:"for,omitempty" yaml:"for,omitempty"`
}

// DNSServer is a server to ask, as people write it.
type DNSServer string

// Defaults of DNS.
const (
	DefaultClusterDomain = "cluster.local"
	DefaultDNSService    = "kube-system/kube-dns"
	DefaultCacheMiB      = 16
	maxCacheMiB          = 4096
)

// serverAdvice is how a server is written.
const serverAdvice = "write udp://[ADDRESS]:53, tcp://[ADDRESS]:53 or tls://[ADDRESS]:853#NAME"

// Parts returns how the server is asked (udp, tcp or tls), where, and of tls whom its certificate names.
func (s DNSServer) Parts() (via string, at netip.AddrPort, name string, err error) {
	via, rest, ok := strings.Cut(string(s), "://")
	if !ok {
		via, rest = "udp", string(s)
	}
	rest, name, _ = strings.Cut(rest, "#")
	port := uint16(53)
	switch via {
	case "udp", "tcp":
		if name != "" {
			return "", at, "", fmt.Errorf("%q: only a server asked by tls has a name", s)
		}
	case "tls":
		port = 853 // RFC 7858 3.1
	default:
		return "", at, "", fmt.Errorf("%q: cannot ask by %s", s, via)
	}
	if a, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		return via, netip.AddrPortFrom(a, port), name, nil
	}
	if at, err = netip.ParseAddrPort(rest); err != nil || at.Port() == 0 {
		return "", at, "", fmt.Errorf("%q is no address, or no address and port", s)
	}
	return via, at, name, nil
}

func (d *DNS) setDefaults() {
	orDefault(&d.ClusterDomain, DefaultClusterDomain)
	orDefault(&d.Service, DefaultDNSService)
	orDefault(&d.CacheMiB, DefaultCacheMiB)
}

// check looks at it alone.
func (d *DNS) check(r *report, at string) {
	checkServers := func(at string, list []DNSServer) {
		for i, s := range list {
			if _, _, _, err := s.Parts(); err != nil {
				r.errorf(fmt.Sprintf("%s[%d]", at, i), serverAdvice, "%v", err)
			}
		}
	}
	checkServers(at+".upstreams", d.Upstreams)
	names := unique{}
	for i, z := range d.Zones {
		here := fmt.Sprintf("%s.zones[%d]", at, i)
		checkDomain(r, here+".name", z.Name)
		names.add(r, here+".name", z.Name)
		if len(z.Upstreams) == 0 {
			r.errorf(here+".upstreams", "name a server to ask", "is missing")
		}
		checkServers(here+".upstreams", z.Upstreams)
	}
	for i, p := range d.Prefixes {
		d.checkPrefix(r, fmt.Sprintf("%s.prefixes[%d]", at, i), p)
	}
	for i, x := range d.Exclude {
		if !x.Addr().Is6() {
			r.errorf(fmt.Sprintf("%s.exclude[%d]", at, i), "write a range of IPv6", "%s is no range of IPv6", x)
		}
	}
	for i, x := range d.Capable {
		if !x.Addr().Is6() {
			r.errorf(fmt.Sprintf("%s.capable[%d]", at, i), "write a range of IPv6: clients are known by that address", "%s is no range of IPv6", x)
		}
	}
	for i, z := range d.NeverSynthesise {
		checkDomain(r, fmt.Sprintf("%s.neverSynthesise[%d]", at, i), z)
	}
	checkDomain(r, at+".clusterDomain", d.ClusterDomain)
	if namespace, name, ok := strings.Cut(d.Service, "/"); !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		r.errorf(at+".service", "write NAMESPACE/NAME", "%q is not the name of a service", d.Service)
	}
	if d.CacheMiB < 1 || d.CacheMiB > maxCacheMiB {
		r.errorf(at+".cacheMiB", fmt.Sprintf("write 1 to %d", maxCacheMiB), "%d MiB is no size of a cache", d.CacheMiB)
	}
}

// checkPrefix: RFC 6052 2.2.
func (d *DNS) checkPrefix(r *report, at string, p DNSPrefix) {
	bits := p.Prefix.Bits()
	switch {
	case !p.Prefix.IsValid() || !p.Prefix.Addr().Is6():
		r.errorf(at+".prefix", "write an IPv6 prefix", "carries no IPv4 addresses")
	case bits != 96 && (bits < 32 || bits > 64 || bits%8 != 0):
		r.errorf(at+".prefix", "write a length of 32, 40, 48, 56, 64 or 96 (RFC 6052 2.2)", "/%d cannot carry IPv4 addresses", bits)
	case p.Prefix.Addr().As16()[8] != 0:
		r.errorf(at+".prefix", "take another (RFC 6052 2.2)", "bits 64 to 71 of %s are not zero", p.Prefix)
	}
	for i, f := range p.For {
		if !f.Addr().Is4() {
			r.errorf(fmt.Sprintf("%s.for[%d]", at, i), "write a range of IPv4", "%s is no range of IPv4", f)
		}
	}
}

// checkDomain: a name of at most 253 characters, of labels of at most 63 (RFC 1035 2.3.4); the last dot may be written.
func checkDomain(r *report, at, name string) {
	bare := strings.TrimSuffix(name, ".")
	ok := bare != "" && len(bare) <= 253
	for _, label := range strings.Split(bare, ".") {
		ok = ok && label != "" && len(label) <= 63 && !strings.ContainsAny(label, " \\\"\t")
	}
	if !ok {
		r.errorf(at, "write it like example.org", "%q is not a domain", name)
	}
}
