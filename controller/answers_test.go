package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// still is a controller that nobody tells anything but the test.
func still(grace time.Duration) *Controller {
	return New(Options{Grace: grace, Log: slog.New(slog.DiscardHandler)})
}

func nodeNamed(name string, cidrs ...string) *objects.Node {
	n := &objects.Node{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: v1alpha1.Name(name)}}}
	n.Spec.PodCIDRs = cidrs
	return n
}

// TestWhole: when things are given out, and when gaps and what rests among them.
func TestWhole(t *testing.T) {
	const round = 7
	long, now := time.Now().Add(-time.Hour), time.Now()
	for name, c := range map[string]struct {
		nodes, hosts    []string
		answers         map[string]int64 // rounds that agents have answered
		asked, followed time.Time
		waits, whole    bool
	}{
		"nobody was asked":                                     {hosts: []string{"a"}, answers: map[string]int64{"a": round}, followed: long, waits: true},
		"all have answered":                                    {nodes: []string{"a"}, hosts: []string{"a"}, answers: map[string]int64{"a": round}, asked: now, followed: long, whole: true},
		"a later question was answered":                        {hosts: []string{"a"}, answers: map[string]int64{"a": round + 1}, asked: now, followed: long, whole: true},
		"one is silent":                                        {hosts: []string{"a", "b"}, answers: map[string]int64{"a": round, "b": round - 1}, asked: now, followed: long, waits: true},
		"one is silent, and the time is over":                  {hosts: []string{"a", "b"}, answers: map[string]int64{"a": round}, asked: long, followed: long},
		"there are no hosts":                                   {asked: now, followed: long, waits: true},
		"a node that the store may have forgotten is silent":   {nodes: []string{"a", "b"}, hosts: []string{"a"}, answers: map[string]int64{"a": round}, asked: now, followed: long, waits: true},
		"a node that the store may have forgotten has said it": {nodes: []string{"a", "b"}, hosts: []string{"a"}, answers: map[string]int64{"a": round, "b": round}, asked: now, followed: long, whole: true},
		"a new node that is silent does not keep others from a gap for ever": {nodes: []string{"a", "b"}, hosts: []string{"a"}, answers: map[string]int64{"a": round},
			asked: long, followed: long, whole: true},
		"a process that was just started waits although all have answered": {hosts: []string{"a"}, answers: map[string]int64{"a": round}, asked: now, followed: now, waits: true},
		"a process that has not read everything waits":                     {hosts: []string{"a"}, answers: map[string]int64{"a": round}, asked: now, waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			k := still(time.Minute)
			k.followed = c.followed
			var nodes []*objects.Node
			for _, n := range c.nodes {
				nodes = append(nodes, nodeNamed(n))
			}
			var hosts []*v1alpha1.Host
			for _, n := range c.hosts {
				hosts = append(hosts, v1alpha1.NewHost(n, v1alpha1.HostSpec{}))
			}
			var reports []*v1alpha1.HostStatus
			for n, answered := range c.answers {
				reports = append(reports, v1alpha1.NewHostStatus(n, v1alpha1.HostReport{Round: answered}))
			}
			k.nodes.store.Replace(objects.Listing[objects.Node]{Objects: nodes})
			k.hosts.store.Replace(objects.Listing[v1alpha1.Host]{Objects: hosts})
			k.statuses.store.Replace(objects.Listing[v1alpha1.HostStatus]{Objects: reports})
			term := newTerm(k)
			if term.asked = c.asked; !c.asked.IsZero() {
				term.round = round
			}
			whole, err := term.whole()
			var problem *Problem
			if waits := errors.As(err, &problem) && problem.Why == WaitingForHosts; waits != c.waits || whole != c.whole {
				t.Errorf("whole %t, error %v, want %t and waits %t", whole, err, c.whole, c.waits)
			}
		})
	}
}

// TestModeIsFoundOnce: nodes with prefixes that no object names have them from somebody else, unless it was found out before that the plan
// gives them: then the objects are those that a store which was put back has forgotten.
func TestModeIsFoundOnce(t *testing.T) {
	k := still(time.Nanosecond)
	term := newTerm(k)
	plan := v1alpha1.NewAddressPlan("lab", labPlan())
	plan.Metadata.UID = "first"
	if mode, err := term.mode(plan); err == nil {
		t.Errorf("found %q before hosts were asked", mode)
	}
	term.round, term.asked = 1, time.Now().Add(-time.Hour)
	tell := func(cidrs ...string) {
		k.nodes.store.Replace(objects.Listing[objects.Node]{Objects: []*objects.Node{nodeNamed("a", cidrs...)}})
	}
	want := func(when string, mode v1alpha1.HostPrefixes) {
		t.Helper()
		if got, err := term.mode(plan); err != nil || got != mode {
			t.Errorf("%s: %q, %v, want %q", when, got, err, mode)
		}
	}
	tell()
	want("no node has a prefix", v1alpha1.HostPrefixesPlan)
	tell("2001:db8:a010:1c00::/64")
	want("the same plan, whose objects were forgotten", v1alpha1.HostPrefixesPlan)
	plan.Metadata.UID = "second"
	want("another plan", v1alpha1.HostPrefixesAdopt)
	plan.Status.HostPrefixes = v1alpha1.HostPrefixesPlan
	want("the status says it", v1alpha1.HostPrefixesPlan)
	plan.Spec.HostPrefixes = v1alpha1.HostPrefixesAdopt
	want("the plan says it", v1alpha1.HostPrefixesAdopt)
}

// TestParked: a task that waits until things are given out costs nothing meanwhile, and is done then.
func TestParked(t *testing.T) {
	k := still(time.Hour)
	k.plans.store.Replace(objects.Listing[v1alpha1.AddressPlan]{Objects: []*v1alpha1.AddressPlan{v1alpha1.NewAddressPlan("lab", labPlan())}})
	for i := range 3 {
		k.nodes.store.Apply(objects.Change[objects.Node]{Object: nodeNamed(fmt.Sprint("h", i))})
	}
	term := newTerm(k)
	term.rebuild()
	for i := range 3 {
		term.do(t.Context(), task{taskHost, fmt.Sprint("h", i)})
	}
	if len(term.parked) != 3 || term.queue.length() != 0 || len(term.queue.timers) != 0 {
		t.Fatalf("%d parked, %d queued, %d timers, want three parked alone", len(term.parked), term.queue.length(), len(term.queue.timers))
	}
	term.unpark()
	if len(term.parked) != 0 || term.queue.length() != 3 {
		t.Errorf("%d parked, %d queued, want three queued", len(term.parked), term.queue.length())
	}
}
