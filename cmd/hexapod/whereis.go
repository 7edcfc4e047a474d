package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
)

const whereisAbout = `Tells where an address lies, who has it, and since when. The plan alone tells where, who and when; a journal tells which endpoint.`

const whereisUsage = "[--at TIME] [--config DIR] [--journal DIR | --run DIR] [-o table|json] ADDRESS"

// whereisCall is one call of `hexapod whereis`.
type whereisCall struct {
	config, journal, run string
	at                   timeFlag
}

// timeFlag is a time as the user writes it: RFC 3339, or a date for its first second in UTC.
type timeFlag struct{ time.Time }

func (t *timeFlag) String() string { return "" }

// Set implements flag.Value.
func (t *timeFlag) Set(s string) (err error) {
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t.Time, err = time.Parse(layout, s); err == nil {
			return nil
		}
	}
	return fmt.Errorf("time %q: want it like 2026-11-21T05:12:49Z or 2026-11-21", s)
}

func runWhereis(ctx context.Context, env environment, args []string) error {
	c := whereisCall{}
	f := newFlags(env, whereisAbout)
	f.StringVar(&c.config, "config", defaultConfigDir, "`DIR` folder of YAML files with the plan")
	f.StringVar(&c.journal, "journal", "", "`DIR` folder of a journal, or of copies of its segments, to read instead of asking the agent")
	f.StringVar(&c.run, "run", defaultRunDir, "`DIR` folder of the agent's sockets")
	f.Var(&c.at, "at", "`TIME` in question, like 2026-11-21T05:12:49Z (default now)")
	output := f.output()
	if help, err := f.parse(args, "ADDRESS"); help || err != nil {
		return err
	}
	addr, err := netip.ParseAddr(f.words[0])
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return usagef("%q is not an IPv6 address without a zone", f.words[0])
	}
	answer, err := c.answer(ctx, addr)
	if err != nil {
		return err
	}
	if *output == formatJSON {
		return printJSON(env.stdout, answer)
	}
	return printTable(env.stdout, []string{"ADDRESS", addr.String(), ""}, answer.rows())
}

// place is one level of the plan as it is printed.
type place struct {
	Name   string       `json:"name,omitempty"`
	Number uint64       `json:"number"`
	Prefix netip.Prefix `json:"prefix"`
}

// whereisAnswer is what is known of an address. What the layout or the plan does not tell is left out.
type whereisAnswer struct {
	Addr     netip.Addr    `json:"address"`
	Fabric   *place        `json:"fabric,omitempty"`
	Cluster  *place        `json:"cluster,omitempty"`
	Rack     *place        `json:"rack,omitempty"`
	Host     *place        `json:"host,omitempty"`
	Role     string        `json:"role,omitempty"`
	Claim    string        `json:"claim,omitempty"`  // namespace/name that a fixed address belongs to
	Closed   string        `json:"closed,omitempty"` // why a sealed host part cannot be read
	Layout   string        `json:"layout,omitempty"`
	Identity *uint16       `json:"identity,omitempty"`
	Labels   string        `json:"labels,omitempty"` // what the identity stands for
	Twin     bool          `json:"twin,omitempty"`
	Born     *ipam.Seconds `json:"born,omitempty"`
	Sequence *uint16       `json:"sequence,omitempty"`
	Counter  *uint64       `json:"counter,omitempty"`

	Asked string           `json:"asked"` // which journal, or why none
	At    *ipam.Seconds    `json:"at,omitempty"`
	Then  *allocation.Life `json:"then,omitempty"`
	Now   *allocation.Life `json:"now,omitempty"`
}

func (c whereisCall) answer(ctx context.Context, addr netip.Addr) (whereisAnswer, error) {
	set, err := file.LoadCopy(c.config)
	if err != nil {
		return whereisAnswer{}, fmt.Errorf("read the plan: %w", err)
	}
	a := whereisAnswer{Addr: addr}
	layout := a.locate(set)
	w, asked, err := c.ask(ctx, addr, layout)
	if err != nil {
		return a, err
	}
	a.Asked = asked
	if w != nil {
		a.At, a.Then, a.Now = &w.At, w.Then, w.Now
	}
	if a.Fabric == nil && a.Then == nil && a.Now == nil {
		return a, fmt.Errorf("%s is not of fabric %s (%s), and no journal that was asked knows it", addr, set.Model.Plan.Name, set.Model.Plan.Prefix)
	}
	return a, nil
}

// locate fills in what the plan and the address itself tell, and returns the layout of its host prefix; zero when it has none.
func (a *whereisAnswer) locate(set file.Set) ipam.Layout {
	l := set.Model.Plan.Locate(a.Addr)
	for _, level := range []struct {
		to   **place
		from addressplan.Place
	}{{&a.Fabric, l.Fabric}, {&a.Cluster, l.Cluster}, {&a.Rack, l.Rack}, {&a.Host, l.Host}} {
		if level.from.Prefix.IsValid() || level.from.Name != "" {
			*level.to = &place{level.from.Name, level.from.Number, level.from.Prefix}
		}
	}
	a.Role = string(l.Role)
	if claim, ok := set.Model.Claims[a.Addr]; ok {
		a.Claim = claim.Namespace + "/" + claim.Name
	}
	if !l.Host.Prefix.IsValid() {
		return ipam.Layout{}
	}
	readable := l.Shared || l.Host.Prefix.Bits() > 64 // too short a host part to seal, or others read it anyway
	if set.Seal == nil && !readable && set.Objects.Plan.Spec.HostPart == v1alpha1.HostPartSealed {
		a.Closed = "sealed, and the key is not here: " + filepath.Join(set.Dir, filepath.FromSlash(set.Objects.Plan.Spec.SealKeyFile))
		return ipam.Layout{}
	}
	layout, err := l.Layout(set.Seal)
	if err != nil {
		return ipam.Layout{}
	}
	a.decode(set, layout, l.Role)
	return layout
}

// decode fills in what the host part says.
func (a *whereisAnswer) decode(set file.Set, layout ipam.Layout, role addressplan.Role) {
	f, err := layout.Decode(a.Addr)
	if err != nil || role == addressplan.RoleReserved {
		return
	}
	if role == addressplan.RoleEndpoint && layout.IdentityBearing() && f.Identity != ipam.IdentityUnknown && !identity.Number(f.Identity).Workload() {
		a.Role = string(addressplan.RoleReserved) // never given out
		return
	}
	a.Layout = layout.Kind().String()
	if layout.IdentityBearing() {
		a.Identity, a.Twin, a.Labels = &f.Identity, f.Twin, labelsOf(set, f.Identity)
	}
	switch {
	case role != addressplan.RoleEndpoint: // the host's own say no time
	case layout.Clocked():
		a.Born, a.Sequence = &f.Born, &f.Sequence
	default:
		a.Counter = &f.Counter
	}
}

func labelsOf(set file.Set, number uint16) string {
	switch number {
	case ipam.IdentityUnknown:
		return "not known when it was given out, or too large for an address"
	case ipam.IdentityHost:
		return "the host itself"
	case ipam.IdentityLocator:
		return "the host's SRv6 locator"
	case ipam.IdentityNAT64:
		return "the host's translator"
	}
	for _, o := range set.Objects.Identities {
		if uint16(o.Spec.Number) != number {
			continue
		}
		row := rowOf(o)
		words := []string{"namespace " + row.Namespace}
		for _, k := range slices.Sorted(maps.Keys(row.Labels)) {
			words = append(words, k+"="+row.Labels[k])
		}
		return strings.Join(words, " ")
	}
	return ""
}
