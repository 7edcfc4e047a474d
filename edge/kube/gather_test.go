package kube

import (
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/model/identity"
)

func prefix(s string) v1alpha1.Prefix { return v1alpha1.PrefixFrom(netip.MustParsePrefix(s)) }

// cluster is a plan and three hosts, one of which has no prefix yet.
func cluster() []v1alpha1.Object {
	return []v1alpha1.Object{
		v1alpha1.NewAddressPlan("lab", v1alpha1.AddressPlanSpec{Prefix: prefix("2001:db8:8000::/37"), Lab: true}),
		v1alpha1.NewHost("h1", v1alpha1.HostSpec{Prefix: prefix("2001:db8:20:1::/64")}),
		v1alpha1.NewHost("h2", v1alpha1.HostSpec{Prefix: prefix("2001:db8:20:2::/64")}),
		v1alpha1.NewHost("h3", v1alpha1.HostSpec{}),
		v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: 256, Namespace: "shop", Labels: map[string]string{"app": "web"}}),
	}
}

// What somebody wrote wrong is left out; all others go on.
func TestUsable(t *testing.T) {
	web := identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web"}}
	for _, c := range []struct {
		name string
		more []v1alpha1.Object
		left string // a part of what is said of it; the host without a prefix is always named
	}{
		{"nothing else", nil, "host h3"},
		{"a pool over a host", []v1alpha1.Object{v1alpha1.NewPool("bad", v1alpha1.PoolSpec{Prefix: prefix("2001:db8:20:1::/80")})}, "pool bad"},
		{"a claim in no pool", []v1alpha1.Object{v1alpha1.NewAddress(v1alpha1.AddressSpec{
			Address: v1alpha1.AddrFrom(netip.MustParseAddr("2001:db8:8010::7")), Pool: "none", Name: "web-0"})}, "there is no pool none"},
		{"a peer whose password is not there", []v1alpha1.Object{v1alpha1.NewBGPPeer("tor", v1alpha1.BGPPeerSpec{
			Interface: "eth0", ASN: 64512, LocalASN: 64513, PasswordFile: "tor.key"})}, "tor"},
		{"a translation that cannot be", []v1alpha1.Object{v1alpha1.NewTranslation("bad", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("127.0.0.0/30")}})}, "Translation bad"},
		{"a gateway without its key", []v1alpha1.Object{v1alpha1.NewTranslation("bad", v1alpha1.TranslationSpec{
			Pool: []v1alpha1.Prefix{prefix("45.66.0.0/30")}, Hosts: []string{"h1"}, Announce: true, KeyFile: "none.key"})}, "Translation bad: spec.keyFile"},
		{"a translation by the hosts of another", []v1alpha1.Object{
			v1alpha1.NewTranslation("bad", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("45.66.0.0/30")}, Hosts: []string{"h1"}}),
			v1alpha1.NewTranslation("a", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("45.66.1.0/30")}, Hosts: []string{"h1", "gone"}})}, "Translation bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, left, err := usable(append(cluster(), c.more...), t.TempDir(), "h1")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.ToLower(left), strings.ToLower(c.left)) {
				t.Errorf("left out: %s; want %q in it", left, c.left)
			}
			if got := len(set.Objects.Hosts); got != 2 {
				t.Errorf("%d hosts, want 2", got)
			}
			if n, ok := set.Model.Identities.Number(web); !ok || n != 256 {
				t.Errorf("identity %s, %v", n, ok)
			}
			if len(set.Objects.Pools)+len(set.Objects.Addresses)+len(set.Objects.BGPPeers) > 0 {
				t.Errorf("taken all the same: %+v", set.Objects)
			}
		})
	}
	elsewhere := v1alpha1.NewTranslation("t", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("45.66.0.0/30")}, Hosts: []string{"h1"}, Announce: true, KeyFile: "none.key"})
	if set, left, err := usable(append(cluster(), elsewhere), t.TempDir(), "h2"); err != nil || len(set.Objects.Translations) != 1 || strings.Contains(left, "keyFile") {
		t.Errorf("a host that signs nothing wants a key: %v, %s", err, left) // its policies hold inside the prefix
	}
	if _, _, err := usable(cluster()[1:], t.TempDir(), "h1"); err == nil {
		t.Error("hosts without a plan are taken")
	}
}

// source is a source that never reached an API server.
func source(t *testing.T, dir string) *Source {
	t.Helper()
	client, err := kobjects.NewClient(nowhere())
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Client: client, Host: "h1", Dir: dir, Secrets: dir, Log: slog.New(slog.DiscardHandler)})
}

// listAll makes a source believe that it has seen whole lists.
func listAll(s *Source, all []v1alpha1.Object) {
	set := v1alpha1.Group(all)
	s.plans.Replace(kobjects.Listing[v1alpha1.AddressPlan]{Objects: []*v1alpha1.AddressPlan{set.Plan}})
	s.hosts.Replace(kobjects.Listing[v1alpha1.Host]{Objects: set.Hosts})
	s.pools.Replace(kobjects.Listing[v1alpha1.Pool]{Objects: set.Pools})
	s.identities.Replace(kobjects.Listing[v1alpha1.Identity]{Objects: set.Identities})
	s.addresses.Replace(kobjects.Listing[v1alpha1.Address]{Objects: set.Addresses})
	s.slices.Replace(kobjects.Listing[v1alpha1.AddressSlice]{Objects: set.Slices})
	s.peers.Replace(kobjects.Listing[v1alpha1.BGPPeer]{Objects: set.BGPPeers})
	s.nat64.Replace(kobjects.Listing[v1alpha1.Translation]{Objects: set.Translations})
}

// Half a list is no list, and what was known whole outlives the agent.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	s := source(t, dir)
	if _, err := s.Load(t.Context()); err == nil {
		t.Error("something is known before any list")
	}
	if s.keep() {
		t.Error("half a list is kept")
	}
	if _, err := s.kept(); err == nil || !strings.Contains(err.Error(), "nothing is kept on this host") {
		t.Errorf("an empty disk: %v", err)
	}
	listAll(s, append(cluster(), v1alpha1.NewTranslation("internet", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("45.66.1.0/30")}})))
	if !s.keep() {
		t.Fatal("not kept")
	}
	set, err := source(t, dir).kept()
	if err != nil || len(set.Objects.Hosts) != 2 || len(set.Objects.Identities) != 1 || len(set.Objects.Translations) != 1 {
		t.Errorf("after a restart: %+v, %v", set.Objects, err)
	}
	if err := os.WriteFile(s.configPath(), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.kept(); err == nil || !strings.Contains(err.Error(), s.configPath()) {
		t.Errorf("half a file: %v", err)
	}
}

// Without an API server a pod is known from the record on disk: its namespace and name, and the UID if one is asked for.
func TestPodFromTheRecord(t *testing.T) {
	dir := t.TempDir()
	first := source(t, dir)
	pod := &kobjects.Pod{}
	pod.Metadata = v1alpha1.Metadata{Name: "web-0", Namespace: "shop", UID: "u1", Labels: map[string]string{"app": "web"},
		Annotations: map[string]string{IngressBandwidth: "10M", EgressBandwidth: "1", mirror: "m1", Synthesis: SynthesisOff}}
	first.pods.Replace(kobjects.Listing[kobjects.Pod]{Objects: []*kobjects.Pod{pod}})
	first.writeRecord()
	s := source(t, dir)
	for _, c := range []struct {
		name, uid string
		known     bool
	}{{"web-0", "", true}, {"web-0", "u1", true}, {"web-0", "m1", true}, {"web-0", "u2", false}, {"web-1", "", false}} {
		p, ok := s.Pod(t.Context(), "shop", c.name, c.uid)
		if ok != c.known {
			t.Errorf("pod %s %s: %+v, %v", c.name, c.uid, p, ok)
		}
		if ok && (p.Labels["app"] != "web" || p.Bandwidth.Ingress.Bits != 10_000_000 || p.Bandwidth.Egress.Bits != 0 || p.Synthesis != SynthesisOff) {
			t.Errorf("pod %s %s: %+v", c.name, c.uid, p)
		}
	}
}

// A change waits its turn, but not what others wait for; a witness alone is hardly news.
func TestWhenAReportIsDue(t *testing.T) {
	serving := v1alpha1.HostReport{Round: 3, Endpoints: 1}
	serving.Set(v1alpha1.Condition{Type: v1alpha1.ConditionReady, Status: v1alpha1.ConditionTrue, LastTransitionTime: v1alpha1.TimeFrom(time.Unix(1, 0))})
	change := func(f func(*v1alpha1.HostReport)) v1alpha1.HostReport {
		r := serving
		r.Conditions = append([]v1alpha1.Condition(nil), serving.Conditions...)
		f(&r)
		return r
	}
	now := v1alpha1.TimeFrom(time.Unix(2, 0))
	for _, c := range []struct {
		name  string
		next  v1alpha1.HostReport
		since time.Duration
		due   bool
	}{
		{"nothing new", serving, time.Hour, false},
		{"only the time of a condition", change(func(r *v1alpha1.HostReport) { r.Conditions[0].LastTransitionTime = now }), time.Hour, false},
		{"an endpoint, too soon", change(func(r *v1alpha1.HostReport) { r.Endpoints = 2 }), time.Second, false},
		{"an endpoint", change(func(r *v1alpha1.HostReport) { r.Endpoints = 2 }), reportEvery, true},
		{"the controller's question", change(func(r *v1alpha1.HostReport) { r.Round = 4 }), 0, true},
		{"not ready any more", change(func(r *v1alpha1.HostReport) { r.Conditions[0].Status = v1alpha1.ConditionFalse }), 0, true},
		{"a witness, too soon", change(func(r *v1alpha1.HostReport) { r.Witness = &now }), reportEvery, false},
		{"a witness", change(func(r *v1alpha1.HostReport) { r.Witness = &now }), witnessEvery, true},
	} {
		have := v1alpha1.NewHostStatus("h1", serving)
		have.Metadata.ResourceVersion = "7"
		r := reporter{written: have, at: time.Now().Add(-c.since)}
		if due := r.due(c.next) == 0; due != c.due {
			t.Errorf("%s: due %v, want %v", c.name, due, c.due)
		}
	}
}
