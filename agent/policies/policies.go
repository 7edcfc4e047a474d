// Package policies keeps the policies of a host's endpoints in force, and explains them.
//
// They are compiled from the newest snapshot, written into the maps of the programs, and asked again where a person wants to know why.
package policies

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexapod.dev/linux/datapath"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
	"hexapod.dev/model/policy"
)

// Options are what an enforcer works with.
type Options struct {
	Host string // its name in the configuration
	Log  *slog.Logger

	Snapshot func() desired.Snapshot
	Holder   func(netip.Addr) (desired.EndpointKey, bool) // the endpoint of this host that has an address
	Pod      func(desired.Endpoint) (Pod, bool)           // what is known of an endpoint beside its number; false: nothing
	Seal     func(netip.Prefix) *ipam.Seal                // of a prefix of this host
	Programs func() (*datapath.Table, string)             // what enforces; nil: nothing, and why

	Again  func() // asks for a pass of Reconcile; it must not wait
	Behind func() // told when the slices that are in force are others than before
}

// Pod is what policies ask of an endpoint that is a pod.
type Pod struct {
	Labels map[string]string // also those that are no part of its identity
	Named  []policy.NamedPort
}

// Enforcer is what decides which flows of endpoints may begin. New makes it. What is in force stays when it goes.
type Enforcer struct {
	options Options
	took    prometheus.Histogram // of putting policies in force
	denials *prometheus.CounterVec

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

// New makes an enforcer. Nothing is in force before a pass finds policies.
func New(o Options) *Enforcer { return &Enforcer{options: o, took: newTimes(), denials: newDenials()} }

// Reconcile compiles the policies of all endpoints and puts them in force. No endpoint may be added or removed meanwhile.
func (p *Enforcer) Reconcile() (delta diff.Delta[string], _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.options.Snapshot()
	if s.Policies.World == nil {
		return delta, nil
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
	p.section, p.host = s.Policies, s.HostAddrs()
	believed, err := p.believed(s)
	if err != nil {
		return delta, err
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
			subjects[addr] = p.subject(e)
			delete(believed.Exact, addr) // of its own endpoints a host knows more than slices tell
			if n := exact(p.base, addr, e); n != nil {
				believed.Exact[addr] = *n
			}
		}
	}
	var failed error // of endpoints whose policies do not fit: nothing passes there
	p.compiled, failed = p.compiler.CompileAll(subjects, believed)
	p.directory = p.compiled.Believed.Directory()
	table, _ := p.options.Programs()
	if table == nil {
		p.revision = s.Policies.Revision
		return delta, failed
	}
	if p.writer == nil {
		if p.writer, err = table.Policies(); err != nil {
			return delta, errors.Join(failed, err)
		}
	}
	delta, err = p.writer.Reconcile(p.compiled)
	if err == nil && p.revision != s.Policies.Revision {
		p.revision = s.Policies.Revision
		defer p.options.Behind()
	}
	p.took.Observe(time.Since(begun).Seconds())
	return delta, errors.Join(failed, err)
}

// believed says who has which address, of all but endpoints here: what the source says, and the prefixes that a server gave.
func (p *Enforcer) believed(s desired.Snapshot) (policy.Believed, error) {
	b := s.Policies.Believed
	b.Exact, b.Regions = maps.Clone(b.Exact), maps.Clone(b.Regions)
	if b.Exact == nil {
		b.Exact = map[netip.Addr]identity.Number{}
	}
	if b.Regions == nil {
		b.Regions = map[netip.Prefix]policy.Form{}
	}
	for _, addr := range s.HostAddrs() {
		b.Exact[addr] = identity.Host
	}
	for _, own := range s.Own() {
		if _, known := b.Regions[own]; known || !own.Addr().Is6() {
			continue
		}
		l, err := ipam.NewLayout(own, p.options.Seal(own))
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

// exact returns the number of an endpoint if its address does not say it.
func exact(d *identity.Directory, addr netip.Addr, e desired.Endpoint) *identity.Number {
	n := identity.Number(e.Identity)
	if who := d.Who(addr); who.By != identity.Outside && who.Number == n {
		return nil
	}
	return &n
}

// Ensure puts the policies of one endpoint in force, before anything passes to or from it.
func (p *Enforcer) Ensure(e desired.Endpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiler == nil {
		return nil
	}
	s := p.subject(e)
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

// Remove forgets an endpoint whose programs know it no more.
func (p *Enforcer) Remove(e desired.Endpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiler == nil {
		return nil
	}
	var errs []error
	for _, addr := range e.Addrs {
		if _, told := p.section.Entries[addr]; told { // by now it may be another host's
			defer p.options.Again()
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

// subject is an endpoint as policies ask for it. In a cluster it has the labels of its pod as far as policies select by them, also those
// that are no part of its identity; its number may be late. Elsewhere an endpoint whose labels have no number has its namespace alone.
// The caller holds mu.
func (p *Enforcer) subject(e desired.Endpoint) policy.Subject {
	n := identity.Number(e.Identity)
	s := policy.Subject{Number: n, Set: identity.Set{Namespace: e.Namespace}, Named: p.section.World.Named[n], Host: p.host}
	set, known := p.section.World.Identities[n]
	if known {
		s.Set = set
	}
	if pod, ok := p.options.Pod(e); ok {
		s.Set = p.compiler.Seen(identity.Set{Namespace: e.Namespace, Labels: pod.Labels})
		s.Named = pod.Named
	}
	return s
}

// Revision is that of the slices that are in force.
func (p *Enforcer) Revision() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision
}
