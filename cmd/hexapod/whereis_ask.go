package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/local"
	"hexapod.dev/model/ipam"
)

// ask looks in the journal that was named, else asks the agent. No agent is no error: the address still says where, who and when.
func (c whereisCall) ask(ctx context.Context, addr netip.Addr, layout ipam.Layout) (*allocation.Whereabouts, string, error) {
	var w allocation.Whereabouts
	if c.journal != "" {
		at := ipam.FromUnix(time.Now().Unix())
		if !c.at.IsZero() {
			at = ipam.FromUnix(c.at.Unix())
		}
		w, err := allocation.Search(ctx, journal.Dir(c.journal), layout, addr, at)
		if err != nil {
			return nil, "", err
		}
		return &w, "the journal in " + c.journal, nil
	}
	if !agentRuns(c.run) {
		return nil, "no journal: no agent answers in " + c.run, nil
	}
	if err := local.NewClient(c.run).Whereis(ctx, addr, c.at.Time, &w); err != nil {
		return nil, "", err
	}
	return &w, "the agent of this host", nil
}

// agentRuns reports whether somebody listens in a run folder. Other troubles than nobody are left for the call itself to tell.
func agentRuns(run string) bool {
	conn, err := net.Dial("unix", filepath.Join(run, local.Socket))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED)
	}
	return conn.Close() == nil
}

// rows prints an answer: what, its value, and what belongs to it.
func (a whereisAnswer) rows() [][]string {
	var rows [][]string
	add := func(what, value, more string) { rows = append(rows, []string{what, value, more}) }
	for _, level := range []struct {
		name string
		at   *place
	}{{"fabric", a.Fabric}, {"cluster", a.Cluster}, {"rack", a.Rack}, {"host", a.Host}} {
		if level.at != nil {
			add(level.name, level.at.word(level.name), level.at.Prefix.String())
		}
	}
	if a.Role != "" {
		add("role", a.Role, "")
	}
	if a.Claim != "" {
		add("claimed for", a.Claim, "")
	}
	if a.Closed != "" {
		add("host part", "-", a.Closed)
	}
	if a.Identity != nil {
		add("identity", fmt.Sprintf("%d (%#04x)", *a.Identity, *a.Identity), a.Labels)
	}
	if a.Twin {
		add("twin", "yes", "the CLAT address of its endpoint")
	}
	switch {
	case a.Born != nil:
		add("born", a.Born.String(), fmt.Sprintf("number %d of that second", *a.Sequence))
	case a.Counter != nil:
		add("counter", fmt.Sprint(*a.Counter), "such a short host part says no time")
	}
	if a.At == nil {
		add("endpoint", "-", a.Asked)
		return rows
	}
	add("then", lifeWord(a.Then), "at "+a.At.String()+lifeSpan(a.Then))
	add("now", lifeWord(a.Now), "by "+a.Asked+lifeSpan(a.Now))
	return rows
}

// word is a level's name and number. The fabric has no number.
func (p place) word(level string) string {
	switch {
	case level == "fabric" && p.Name != "":
		return p.Name
	case p.Name == "" && level == "rack" && p.Number == 0:
		return "0, kept for roles"
	case p.Name == "":
		return fmt.Sprintf("%d, not in the plan", p.Number)
	case !p.Prefix.IsValid(), level == "fabric":
		return p.Name
	}
	return fmt.Sprintf("%s (%d)", p.Name, p.Number)
}

func lifeWord(l *allocation.Life) string {
	if l == nil {
		return "nobody"
	}
	return strings.TrimPrefix(strings.Trim(l.Namespace+"/"+l.Name, "/")+" "+l.Key.String(), " ")
}

func lifeSpan(l *allocation.Life) string {
	switch {
	case l == nil:
		return ""
	case l.Retired == 0:
		return ", since " + l.Given.String()
	}
	return ", from " + l.Given.String() + " to " + l.Retired.String()
}
