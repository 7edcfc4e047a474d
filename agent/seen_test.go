package agent

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/addressplan"
)

// TestSeenIsNotForgotten: a configuration counts although nobody reported while it was in force, and the next one, that of a store that was put
// back, knows less; also after a restart.
func TestSeenIsNotForgotten(t *testing.T) {
	options := Options{StateDir: t.TempDir(), Cluster: struct{ Cluster }{}}
	start := func() *Agent {
		return &Agent{options: options, log: slog.New(slog.DiscardHandler)}
	}
	told := func(identity uint32, hosts ...addressplan.Host) *configuration {
		plan := addressplan.Plan{Prefix: netip.MustParsePrefix("2001:db8:a000::/37"), Lengths: addressplan.Lengths{Cluster: 44, Rack: 54, Host: 64}, Hosts: hosts}
		return &configuration{set: objects.Set{
			Objects: v1alpha1.Set{Identities: []*v1alpha1.Identity{v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: identity})}},
			Model:   objects.Model{Plan: plan},
		}}
	}
	host := func(name, prefix string) addressplan.Host {
		return addressplan.Host{Name: name, Adopted: true, Prefix: netip.MustParsePrefix(prefix)}
	}
	a := start()
	low, high := host("a", "2001:db8:a010:1000::/64"), host("b", "2001:db8:a010:1007::/64")
	a.raiseSeen(told(260, low))
	a.raiseSeen(told(300, low, high))
	a.raiseSeen(told(259, low))
	want := v1alpha1.Seen{Identity: 300, Prefixes: []v1alpha1.Prefix{v1alpha1.PrefixFrom(high.Prefix)}}
	same := cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })
	report := v1alpha1.HostReport{Prefixes: []v1alpha1.Prefix{v1alpha1.PrefixFrom(low.Prefix)}, Identities: []uint32{258, 260}}
	a.keepSeen(&report)
	if diff := cmp.Diff(want, report.Seen, same); diff != "" {
		t.Errorf("-want +seen:\n%s", diff)
	}

	// What lived goes on living when the agent is started again, whatever the store says of the host, and not when the host is.
	var again v1alpha1.HostReport
	next := start()
	next.seen.linked.Store(true)
	next.reportHeld(&again)
	if diff := cmp.Diff(report, again, same); diff != "" {
		t.Errorf("-before +after a restart of the agent:\n%s", diff)
	}
	var booted v1alpha1.HostReport
	next = start()
	next.raiseSeen(told(258, low))
	next.reportHeld(&booted)
	if diff := cmp.Diff(v1alpha1.HostReport{Seen: want}, booted, same); diff != "" {
		t.Errorf("-want +after a restart of the host:\n%s", diff)
	}
}
