// Package render writes an address plan in the words of other programs: routers, advertisers, Kubernetes, Docker, DNS.
//
// Each rendering is a pure function to text, the same every time. Links between routers carry no addresses: the upper side of
// each port has fe80::1, which the lower side connects to, so one text serves every rack.
package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/model/addressplan"
)

// Target is a program that a plan can be written for.
type Target string

// The targets.
const (
	FRR     Target = "frr"     // routing daemon, for a spine, a ToR or a host
	BIRD    Target = "bird"    // routing daemon, for a spine, a ToR or a host
	Filter  Target = "filter"  // nftables: edge filter of a spine, per-port filter of a ToR
	Radvd   Target = "radvd"   // router advertisements of a ToR
	Kea     Target = "kea"     // prefix delegation by a ToR (RFC 8415)
	Kubeadm Target = "kubeadm" // a cluster, or one host of it
	Docker  Target = "docker"  // daemon.json of a host
	Zone    Target = "zone"    // reverse zones
	JSON    Target = "json"    // everything, for a program
)

// Scope says for which part of the fabric to write. At most one field is set; none is the whole fabric.
type Scope struct {
	Host  string // name
	Rack  string // "cluster/rack"; the rack alone where there is one cluster
	Spine uint32 // from 1
}

func (s Scope) String() string {
	switch {
	case s.Host != "":
		return "a host"
	case s.Rack != "":
		return "a rack"
	case s.Spine != 0:
		return "a spine"
	}
	return "the fabric"
}

// Options are what the plan does not know. The zero value has sensible names for everything.
type Options struct {
	Ports      map[string]string // port of a ToR by host name, of a spine by "cluster/rack"; swpN where nothing is said
	SpinePorts []string          // ports of a ToR that lead to spines; swp49 where nothing is said
	Uplinks    []string          // links of a host that lead to its ToR; eth0 where nothing is said
	Outside    []string          // ports of a spine that leave the fabric
	Translated []netip.Prefix    // what translators to IPv4 announce: prefixes that carry IPv4 addresses, and their pools
	Domain     string            // of host names in zones; "hexapod.internal." where nothing is said
	NameServer string            // of the zones; "localhost." where nothing is said
	Serial     uint32            // of the zones; 1 where nothing is said
}

// translated is what translators announce of one family.
func (o Options) translated(six bool) (list []netip.Prefix) {
	for _, p := range o.Translated {
		if p.Addr().Is6() == six {
			list = append(list, p)
		}
	}
	return list
}

func (o Options) withDefaults() Options {
	if len(o.SpinePorts) == 0 {
		o.SpinePorts = []string{"swp49"}
	}
	if len(o.Uplinks) == 0 {
		o.Uplinks = []string{"eth0"}
	}
	if o.Domain == "" {
		o.Domain = "hexapod.internal."
	}
	if o.NameServer == "" {
		o.NameServer = "localhost."
	}
	o.Domain, o.NameServer = dotted(o.Domain), dotted(o.NameServer)
	if o.Serial == 0 {
		o.Serial = 1
	}
	return o
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// check refuses names that would end a quoted word or a line in one of the targets.
func (o Options) check() error {
	words := slices.Concat(o.SpinePorts, o.Uplinks, o.Outside, []string{o.Domain, o.NameServer})
	for _, p := range o.Ports {
		words = append(words, p)
	}
	for _, w := range words {
		if w == "" || strings.ContainsFunc(w, func(c rune) bool { return !strings.ContainsRune(wordRunes, c) }) {
			return fmt.Errorf("%q is no name of a link or a domain: use letters, digits, '.', '-', '_', '@'", w)
		}
	}
	return nil
}

const wordRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"

// File is one rendered text under the name it usually has.
type File struct {
	Name string
	Text string
}

// writer makes the files of one target.
type writer struct {
	target Target
	scopes []string // what it can be written for
	write  func(view, Scope) ([]File, error)
}

func writers() []writer {
	spineRackHost := []string{"a spine", "a rack", "a host"}
	return []writer{
		{FRR, spineRackHost, frr},
		{BIRD, spineRackHost, bird},
		{Filter, []string{"a spine", "a rack"}, filter},
		{Radvd, []string{"a rack"}, radvd},
		{Kea, []string{"a rack"}, kea},
		{Kubeadm, []string{"the fabric", "a host"}, kubeadm},
		{Docker, []string{"a host"}, docker},
		{Zone, []string{"the fabric"}, zone},
		{JSON, []string{"the fabric"}, machine},
	}
}

// Targets returns the names of all targets, in order.
func Targets() []string {
	var names []string
	for _, w := range writers() {
		names = append(names, string(w.target))
	}
	return names
}

// Render writes the plan for a target. A plan with errors is refused: half a configuration is none.
func Render(p addressplan.Plan, t Target, s Scope, o Options) ([]File, error) {
	i := slices.IndexFunc(writers(), func(w writer) bool { return w.target == t })
	if i < 0 {
		return nil, fmt.Errorf("render for %q: want one of %s", t, strings.Join(Targets(), ", "))
	}
	w := writers()[i]
	if !slices.Contains(w.scopes, s.String()) {
		return nil, fmt.Errorf("render for %s: it is written for %s, not for %s: name the one you mean", t, strings.Join(w.scopes, " or "), s)
	}
	if bad := addressplan.Errors(p.Check()); len(bad) > 0 {
		return nil, fmt.Errorf("render for %s: the plan has errors: %s", t, bad[0])
	}
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("render for %s: %w", t, err)
	}
	files, err := w.write(view{p, o}, s)
	if err != nil {
		return nil, fmt.Errorf("render for %s: %w", t, err)
	}
	return files, nil
}

// text gathers lines.
type text struct{ strings.Builder }

func (t *text) line(format string, a ...any) {
	fmt.Fprintf(&t.Builder, format, a...)
	t.WriteByte('\n')
}
