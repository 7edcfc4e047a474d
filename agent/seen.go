package agent

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file/whole"
)

// seenName is the file in the state folder that keeps what a store that was put back has forgotten: the high-water marks of a cluster,
// and what this host held.
const seenName = "seen.json"

// seen is what this host was ever told of its cluster, and what it held last.
type seen struct {
	linked atomic.Bool // links of endpoints are in the kernel

	mu   sync.Mutex // guards all following fields
	read bool       // what the file says is in now
	kept []byte     // what the file says
	now  memory
}

// memory is the content of the file.
type memory struct {
	v1alpha1.Seen
	Held       []v1alpha1.Prefix `json:"held,omitempty"`
	Identities []uint32          `json:"carried,omitempty"`
}

// raiseSeen raises the marks by a configuration. Each one counts: the next may be that of a store that was put back.
func (a *Agent) raiseSeen(c *configuration) {
	if a.options.Cluster == nil {
		return
	}
	s := &a.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	a.readSeen()
	for _, o := range c.set.Objects.Identities {
		s.now.Identity = max(s.now.Identity, o.Spec.Number)
	}
	s.now.Prefixes = highest(c, s.now.Prefixes)
}

// keepSeen writes what a report says that the host holds to the disk, with the marks, and completes the report with these.
func (a *Agent) keepSeen(r *v1alpha1.HostReport) {
	s := &a.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	a.readSeen()
	s.now.Held, s.now.Identities = r.Prefixes, r.Identities
	r.Seen = s.now.Seen
	path := filepath.Join(a.options.StateDir, seenName)
	now, err := json.Marshal(s.now)
	if err == nil && !bytes.Equal(now, s.kept) {
		if err = whole.Write(path, now, 0o600); err == nil {
			s.kept = now
		}
	}
	if err != nil { // the controller is told all the same; after a restart it hears what the plan holds then
		a.log.Warn("highest numbers not noted", "file", path, "error", err)
	}
}

// reportHeld tells what this host held before its agent was started, while that is not yet known from the configuration: there may be no Host
// of this name any more, and the endpoints live on. Where no link of one is left, nothing binds the host to what it held.
func (a *Agent) reportHeld(r *v1alpha1.HostReport) {
	s := &a.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	a.readSeen()
	r.Seen = s.now.Seen
	if s.linked.Load() {
		r.Prefixes, r.Identities = s.now.Held, s.now.Identities
	}
}

// readSeen takes what the file says, once. The caller holds mu.
func (a *Agent) readSeen() {
	s := &a.seen
	if s.read {
		return
	}
	s.read = true
	data, err := os.ReadFile(filepath.Join(a.options.StateDir, seenName))
	if err == nil && json.Unmarshal(data, &s.now) == nil { // a torn file says nothing, and is written anew
		s.kept = data
	}
}

// highest is the highest host prefix of each rack, sorted, of those that were seen before and those of the plan now.
func highest(c *configuration, before []v1alpha1.Prefix) []v1alpha1.Prefix {
	plan := c.set.Model.Plan
	top := map[netip.Prefix]netip.Prefix{}
	add := func(p netip.Prefix) {
		if !plan.Prefix.Contains(p.Addr()) {
			return // adopted: nobody counts in it
		}
		rack, err := p.Addr().Prefix(min(plan.Lengths.Rack, p.Bits()))
		if have, ok := top[rack]; err == nil && (!ok || have.Compare(p) < 0) {
			top[rack] = p
		}
	}
	for _, p := range before {
		add(p.Prefix)
	}
	for _, h := range plan.Hosts {
		if p, err := plan.PrefixOf(h); err == nil {
			add(p)
		}
	}
	var out []v1alpha1.Prefix
	for _, p := range top {
		out = append(out, v1alpha1.Prefix{Prefix: p})
	}
	slices.SortFunc(out, func(x, y v1alpha1.Prefix) int { return x.Compare(y.Prefix) })
	return out
}
