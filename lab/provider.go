package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/lab/router"
	"hexapod.dev/lab/topology"
	"hexapod.dev/model/xlat"
)

// pref64 is what a ToR tells of a NAT64: prefixes that there are, and those that are over.
type pref64 struct {
	Now  []netip.Prefix `json:"now"`
	Over []netip.Prefix `json:"over"`
}

// AddProvider adds an IPv4 Internet to a running lab whose hosts have no IPv4: whoever runs a NAT64 at the outside leads there. by is a prefix of
// it, through which hosts also ask for names. Nothing tells the hosts of it; the NAT64 itself is for the caller to run.
func (l *Lab) AddProvider(ctx context.Context, by netip.Prefix) error {
	if l.state.Internet || l.state.Provider.IsValid() {
		return fmt.Errorf("lab %s has an IPv4 Internet already", l.name)
	}
	if _, err := xlat.NewPref64(by); err != nil {
		return err
	}
	l.state.Provider = by
	if err := l.save(); err != nil {
		return err
	}
	if err := l.makeInternet(ctx); err != nil {
		return fmt.Errorf("IPv4 Internet: %w", err)
	}
	return l.writeObjects(planFile, l.state.plan())
}

// nameServer is where hosts ask for the name of the IPv4 Internet's server; invalid: nowhere.
func (s *state) nameServer() (a netip.Addr) {
	if p, err := xlat.NewPref64(s.Provider); err == nil {
		return p.Embed(internetAddr)
	}
	if s.Internet {
		return internetAddr
	}
	return a
}

// TellPref64 has a ToR tell its hosts these prefixes in router advertisements (RFC 8781), and that those are over which it told before.
func (l *Lab) TellPref64(tor string, now []netip.Prefix) error {
	if !slices.ContainsFunc(l.state.Size.Tors(), func(t topology.Tor) bool { return t.Name == tor }) {
		return fmt.Errorf("%s is no ToR of this lab", tor)
	}
	if l.state.Router != HexapodRouter {
		return fmt.Errorf("prefixes of a NAT64 are told by our own routers alone, and this lab has %s", l.state.Router)
	}
	if l.state.Told == nil {
		l.state.Told = map[string]pref64{}
	}
	before := l.state.Told[tor]
	next := pref64{Now: now}
	for _, p := range slices.Concat(before.Now, before.Over) {
		if !slices.Contains(now, p) && !slices.Contains(next.Over, p) {
			next.Over = append(next.Over, p)
		}
	}
	l.state.Told[tor] = next
	if err := l.save(); err != nil {
		return err
	}
	return l.renewRouters()
}

// tells fills in what a ToR tells of a NAT64.
func (l *Lab) tells(tor string, c *router.Config) {
	c.Pref64, c.PrefOver = l.state.Told[tor].Now, l.state.Told[tor].Over
}
