package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hexapod.dev/agent/local"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/upstream"
)

// given is the source of prefixes that somebody wrote.
const given = "given"

// State tells what is known.
func (f *Finder) State() local.Upstream {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := local.Upstream{Prefixes: []local.UpstreamPrefix{}}
	if f.want == nil {
		return out
	}
	now := f.now()
	out.Translation, out.Why, out.Links = f.want.Name, string(f.whyNone()), slices.Clone(f.links)
	for _, p := range f.want.Given {
		out.Prefixes = append(out.Prefixes, local.UpstreamPrefix{Prefix: p, Source: given, Used: true})
	}
	for _, v := range f.verdicts {
		out.Prefixes = append(out.Prefixes, local.UpstreamPrefix{Prefix: v.Prefix, Source: string(v.Source), From: v.From,
			Left: max(v.Until-now, 0), Used: v.Used(), Why: string(v.Why)})
	}
	for _, server := range slices.Sorted(maps.Keys(f.resolved)) {
		out.Resolvers = append(out.Resolvers, local.UpstreamResolver{Server: server, Said: f.resolved[server].said, Next: max(f.asking.Next-now, 0)})
	}
	if err := errors.Join(f.deaf, f.unasked); err != nil {
		out.Problem = local.OneLine(err)
	}
	return out
}

// Report is what the status says: of the prefixes that are used, and of each that was refused.
func (f *Finder) Report() (list []local.Object) {
	s := f.State()
	if s.Translation == "" {
		return nil
	}
	o := local.Object{Kind: "nat64", Name: s.Translation, State: local.Done}
	var used []string
	for _, p := range s.Prefixes {
		switch {
		case p.Source == given:
			used = append(used, fmt.Sprintf("%s (%s)", p.Prefix, given))
		case p.Used:
			used = append(used, fmt.Sprintf("%s (%s: %s, %d s left)", p.Prefix, p.Source, p.From, p.Left))
		case (upstream.Verdict{Why: desired.Why(p.Why)}).Lie():
			list = append(list, local.Object{Kind: "pref64", Name: fmt.Sprintf("%s by %s", p.Prefix, p.From), State: local.Failed, Why: "refused: " + p.Why})
		}
	}
	o.Detail = "that of the network outside: " + strings.Join(used, ", ")
	switch {
	case s.Why == string(upstream.NotFound):
		o.State, o.Why = local.Pending, cmp.Or(s.Problem, s.Why)
	case s.Why != "":
		o.State, o.Why = local.Failed, s.Why
	case s.Problem != "":
		o.Detail += "; " + s.Problem
	}
	if o.Why != "" {
		o.Detail = ""
	}
	return append([]local.Object{o}, list...)
}
