package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/model/dns64"
)

// Ways to an upstream.
const (
	UDP = "udp" // and TCP for what does not fit (RFC 7766)
	TCP = "tcp"
	TLS = "tls" // RFC 7858
)

// Upstream is a server to ask.
type Upstream struct {
	Addr netip.AddrPort
	Via  string // UDP, TCP or TLS
	Name string // of TLS: whom its certificate must name; empty: the address
}

// String is the upstream as people write it.
func (u Upstream) String() string {
	if u.Name != "" {
		return fmt.Sprintf("%s://%s#%s", u.Via, u.Addr, u.Name)
	}
	return fmt.Sprintf("%s://%s", u.Via, u.Addr)
}

// Zone says who is asked for the names of a zone.
type Zone struct {
	Name      string // canonical: lower case, with the dot at the end; "." is everything else
	Upstreams []Upstream
}

// Limits of what a server holds.
const (
	DefaultCacheBytes = 16 << 20
	minCacheBytes     = 1 << 20
)

// Config is what a server does. It may be replaced while the server runs.
type Config struct {
	Policy     dns64.Policy
	Zones      []Zone
	Clients    dns64.Clients  // who has IPv4 of its own
	Allow      []netip.Prefix // who is answered; nobody else is. Empty: nobody
	CacheBytes int            // 0: DefaultCacheBytes
}

// Upstreams are the servers that are asked for names of no zone but the root.
func (c *Config) Upstreams() []Upstream {
	for _, z := range c.Zones {
		if z.Name == "." {
			return z.Upstreams
		}
	}
	return nil
}

// check finds what a server could not run with, and puts zones in the order they are looked up.
func (c *Config) check() error {
	var errs []error
	seen := map[string]bool{}
	for _, z := range c.Zones {
		if !strings.HasSuffix(z.Name, ".") || z.Name != strings.ToLower(z.Name) {
			errs = append(errs, fmt.Errorf("zone %q: want lower case and a dot at the end", z.Name))
		}
		if seen[z.Name] {
			errs = append(errs, fmt.Errorf("zone %s is there twice", z.Name))
		}
		seen[z.Name] = true
		if len(z.Upstreams) == 0 {
			errs = append(errs, fmt.Errorf("zone %s: no server to ask", z.Name))
		}
		for _, u := range z.Upstreams {
			if !u.Addr.IsValid() || u.Addr.Port() == 0 || !slices.Contains([]string{UDP, TCP, TLS}, u.Via) {
				errs = append(errs, fmt.Errorf("zone %s: server %s: want an address, a port and one of %s, %s and %s", z.Name, u, UDP, TCP, TLS))
			}
		}
	}
	if !seen["."] {
		errs = append(errs, errors.New("no server to ask for names of no other zone: want a zone \".\""))
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.CacheBytes < minCacheBytes {
		errs = append(errs, fmt.Errorf("a cache of %d bytes, want at least %d", c.CacheBytes, minCacheBytes))
	}
	c.Zones = slices.Clone(c.Zones)
	slices.SortFunc(c.Zones, func(a, b Zone) int { return len(b.Name) - len(a.Name) }) // the longest match is the first
	return errors.Join(errs...)
}

// zone returns the zone of a name.
func (c *Config) zone(name string) Zone {
	for _, z := range c.Zones {
		if z.Name == "." || name == z.Name || strings.HasSuffix(name, "."+z.Name) {
			return z
		}
	}
	return Zone{}
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
