package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/edge/objects"
	"hexapod.dev/linux/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/policy"
)

// partPolicy keeps the policies of endpoints in force.
const partPolicy = "policy"

// policies is what decides which flows of endpoints may begin.
type policies struct {
	took    prometheus.Histogram // of putting policies in force
	denials *prometheus.CounterVec

	cluster atomic.Pointer[objects.ClusterPolicies] // nil: outside a cluster, or nothing is known yet
	setting sync.Mutex                              // held while the section is written
	memo    objects.PolicyMemo                      // guarded by setting

	mu        sync.Mutex // guards all following fields
	section   desired.Policies
	compiler  *policy.Compiler    // of section; nil: nothing is in force yet
	base      *identity.Directory // without the endpoints of this host and without slices
	directory *identity.Directory
	compiled  policy.Compiled
	counted   map[string]bool    // policies that denials has counters of
	revision  int64              // of the slices that are in force
	host      []netip.Addr       // of this host, which may always probe its endpoints
	writer    *datapath.Policies // nil without programs
}

func newPolicyTimes() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "hexapod", Subsystem: "policy", Name: "update_seconds",
		Help: "Duration of compiling policies and bringing them into the kernel.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
}

// policeAll compiles the policies of all endpoints and puts them in force. Nothing is added or removed by an ADD or DEL meanwhile.
func (a *Agent) policeAll(context.Context) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	p := &a.policies
	p.mu.Lock()
	defer p.mu.Unlock()
	s := a.sections.Snapshot()
	if s.Policies.World == nil {
		return nil
	}
	begun := time.Now()
	if p.compiled.Subjects == nil {
		p.compiled.Subjects = map[netip.Addr][2]*policy.Table{}
	}
	switch {
	case p.compiler == nil:
		p.compiler = policy.NewCompiler(s.Policies.World)
	case p.section.World != s.Policies.World:
		p.compiler = p.compiler.Next(s.Policies.World)
	}
	p.section, p.host = s.Policies, hostAddrs(s)
	believed, err := a.believed(s)
	if err != nil {
		return err
	}
	p.base = believed.Directory()
	for addr, n := range s.Policies.Entries {
		if _, known := believed.Exact[addr]; !known { // nobody is made of a host
			believed.Exact[addr] = n
		}
	}
	subjects := map[netip.Addr]policy.Subject{}
	for _, e := range s.Endpoints.All() {
		for _, addr := range e.Addrs {
			subjects[addr] = a.subject(e)
			delete(believed.Exact, addr) // of its own endpoints a host knows more than slices tell
			if n := exact(p.base, addr, e); n != nil {
				believed.Exact[addr] = *n
			}
		}
	}
	var failed error // of endpoints whose policies do not fit: nothing passes there
	p.compiled, failed = p.compiler.CompileAll(subjects, believed)
	p.directory = p.compiled.Believed.Directory()
	if a.datapath.table == nil {
		p.revision = s.Policies.Revision
		return failed
	}
	if p.writer == nil {
		if p.writer, err = a.datapath.table.Policies(); err != nil {
			return errors.Join(failed, err)
		}
	}
	delta, err := p.writer.Reconcile(p.compiled)
	a.changed(partPolicy, delta)
	if err == nil && p.revision != s.Policies.Revision {
		p.revision = s.Policies.Revision
		defer a.reportSoon()
	}
	p.took.Observe(time.Since(begun).Seconds())
	return errors.Join(failed, err)
}

// believed says who has which address, of all but endpoints here: what the source says, and the prefixes that a server gave.
func (a *Agent) believed(s desired.Snapshot) (policy.Believed, error) {
	b := s.Policies.Believed
	b.Exact, b.Regions = maps.Clone(b.Exact), maps.Clone(b.Regions)
	if b.Exact == nil {
		b.Exact = map[netip.Addr]identity.Number{}
	}
	if b.Regions == nil {
		b.Regions = map[netip.Prefix]policy.Form{}
	}
	for _, addr := range hostAddrs(s) {
		b.Exact[addr] = identity.Host
	}
	for _, own := range s.Own() {
		if _, known := b.Regions[own]; known || !own.Addr().Is6() {
			continue
		}
		l, err := ipam.NewLayout(own, a.config.Load().sealFor(own))
		if err != nil {
			return b, err
		}
		r, err := policy.RegionOf(l)
		if err != nil {
			return b, err
		}
		b.Regions[own] = policy.Silent
		b.Regions[r.Prefix] = r.Form
	}
	return b, nil
}

// hostAddrs lists the addresses that this host sends from.
func hostAddrs(s desired.Snapshot) (out []netip.Addr) {
	add := func(addr netip.Addr) {
		if addr.IsValid() && !addr.IsLinkLocalUnicast() {
			out = append(out, addr)
		}
	}
	for _, addr := range s.Config.Self.Addrs {
		add(addr)
	}
	for _, u := range s.Uplinks() {
		add(u.Address)
		for _, p := range s.Facts[u.Name].Addrs {
			add(p.Addr())
		}
	}
	for _, own := range s.Own() {
		add(desired.RouterAddr(own))
	}
	return out
}

// exact returns the number of an endpoint if its address does not say it.
func exact(d *identity.Directory, addr netip.Addr, e desired.Endpoint) *identity.Number {
	n := identity.Number(e.Identity)
	if who := d.Who(addr); who.By != identity.Outside && who.Number == n {
		return nil
	}
	return &n
}

// police puts the policies of one endpoint in force, before anything passes to or from it.
func (a *Agent) police(e desired.Endpoint) error {
	p := &a.policies
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiler == nil {
		return nil
	}
	s := a.subject(e)
	tables, err := p.compiler.Tables(&s)
	if err != nil {
		return err
	}
	for _, addr := range e.Addrs {
		n := exact(p.base, addr, e)
		switch {
		case n != nil:
			p.compiled.Believed = p.compiled.Believed.With(addr, *n)
			p.directory = p.directory.With(addr, p.compiled.Believed.Known.Seen(*n))
		case p.directory.Who(addr).By == identity.ByEntry: // of somebody who had it before
			p.compiled.Believed = p.compiled.Believed.Without(addr)
			p.directory = p.directory.Without(addr)
		}
		p.compiled.Subjects[addr] = tables
		if p.writer == nil {
			continue
		}
		if err := p.writer.Ensure(addr, tables, n); err != nil {
			return err
		}
	}
	return nil
}

// policeNoMore forgets an endpoint whose programs know it no more.
func (a *Agent) policeNoMore(e desired.Endpoint) error {
	p := &a.policies
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiler == nil {
		return nil
	}
	var errs []error
	for _, addr := range e.Addrs {
		if _, told := p.section.Entries[addr]; told { // by now it may be another host's
			defer a.kick(partPolicy)
		}
		delete(p.compiled.Subjects, addr)
		if p.directory.Who(addr).By == identity.ByEntry {
			p.directory = p.directory.Without(addr)
			p.compiled.Believed = p.compiled.Believed.Without(addr)
		}
		if p.writer != nil {
			errs = append(errs, p.writer.Remove(addr))
		}
	}
	return errors.Join(errs...)
}
