package objects_test

import (
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
	"hexapod.dev/model/xlat"
)

const translated = `
---
apiVersion: hexapod.dev/v1alpha1
kind: Translation
metadata: {name: internet}
spec:
  prefixes: ["64:ff9b::/96", "2001:db8:64::/48"]
  pool: [45.66.0.0/30]
  private: [10.0.0.0/8]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.169.254/32, 10.1.0.0/16, 45.67.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["2001:db8:dead::/48"]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: part, namespace: bank}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: 45.66.1.0/24, except: [45.66.1.128/25]}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: six, namespace: lab}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: "::/0"}}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: never}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress: [{name: registry, action: Deny, to: [{networks: [45.66.9.0/24]}]}]
`

// NAT64 does not walk round policy: what a policy says of an IPv4 address holds in every form that the address has inside a prefix, whether
// the policies come from files or from a cluster.
func TestNAT64DoesNotWalkRoundPolicy(t *testing.T) {
	s := read(t, fabric+translated)
	m := modelOf(t, s)
	files := objects.Policies(s, m)
	bare := s
	bare.NetworkPolicies, bare.ClusterNetworkPolicies = nil, nil
	c := objects.ClusterPolicies{NetworkPolicies: s.NetworkPolicies, ClusterNetworkPolicies: s.ClusterNetworkPolicies}
	cluster, _ := c.Policies(&objects.PolicyMemo{}, objects.Policies(bare, m), policy.Believed{})
	for from, w := range map[string]*policy.World{"files": files, "a cluster": cluster} {
		for _, tc := range []struct {
			namespace, four string
			want            policy.Action
		}{
			{"shop", "45.66.0.80", policy.Accept},
			{"shop", "45.67.0.80", policy.Deny},      // an exception
			{"shop", "169.254.169.254", policy.Deny}, // the metadata of clouds
			{"shop", "10.1.2.3", policy.Deny},        // private, an exception
			{"shop", "10.2.2.3", policy.Accept},
			{"shop", "45.66.9.1", policy.Deny}, // by the cluster's own policy
			{"bank", "45.66.1.1", policy.Accept},
			{"bank", "45.66.1.200", policy.Deny},
			{"bank", "45.66.2.1", policy.Deny},
			{"lab", "45.67.0.80", policy.Accept}, // its policy says nothing of IPv4
			{"lab", "45.66.9.1", policy.Deny},
		} {
			for _, form := range append(embedded(w, tc.four), netip.MustParseAddr(tc.four)) {
				if form.Is4() && tc.namespace == "lab" {
					continue
				}
				subject := policy.Subject{Number: 300, Set: identity.Set{Namespace: tc.namespace}}
				v := w.Judge(&subject, policy.Flow{Direction: policy.Egress, Protocol: transport.TCP, Port: 80, Other: policy.Other{Addr: form, Who: identity.Answer{By: identity.Outside}}})
				if v.Action != tc.want {
					t.Errorf("%s: %s to %s as %s: %s by %s, want %s", from, tc.namespace, tc.four, form, v.Action, v.Rule, tc.want)
				}
			}
		}
		six := policy.Flow{Direction: policy.Egress, Protocol: transport.TCP, Port: 80, Other: policy.Other{Addr: netip.MustParseAddr("3fff::1"), Who: identity.Answer{By: identity.Outside}}}
		if v := w.Judge(&policy.Subject{Set: identity.Set{Namespace: "shop"}}, six); v.Action != policy.Accept {
			t.Errorf("%s: an address that carries none: %s by %s", from, v.Action, v.Rule)
		}
	}
}

// embedded are the forms of an IPv4 address inside the prefixes of a world.
func embedded(w *policy.World, four string) (out []netip.Addr) {
	for _, p := range w.Carried {
		out = append(out, p.Embed(netip.MustParseAddr(four)))
	}
	return out
}

// Hosts translate by name, by label or all of them, and share the pool out among those that live.
func TestTranslationHosts(t *testing.T) {
	s := read(t, fabric+translated)
	m := modelOf(t, s)
	for _, tc := range []struct {
		name   string
		hosts  []string
		labels map[string]string
		want   []string
	}{
		{"all", nil, nil, []string{"cloud", "h18"}},
		{"by name", []string{"h18", "gone"}, nil, []string{"h18"}},
		{"by label", nil, map[string]string{"gateway": "yes"}, []string{"cloud"}},
		{"by both", []string{"h18"}, map[string]string{"gateway": "yes"}, []string{"cloud", "h18"}},
		{"by no label that is there", nil, map[string]string{"gateway": "no"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := s.Translations[0]
			o.Spec.Hosts, o.Spec.HostLabels = tc.hosts, tc.labels
			var got []string
			var pool []netip.Addr
			for _, h := range s.Hosts {
				if h.ObjectName() == "cloud" {
					h.Metadata.Labels = map[string]string{"gateway": "yes"}
				}
				if x := objects.Translation(s, m, h); x != nil {
					got, pool = append(got, h.ObjectName()), append(pool, x.Pool...)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("translate: %v, want %v", got, tc.want)
			}
			if slices.SortFunc(pool, netip.Addr.Compare); len(tc.want) > 0 && len(slices.Compact(pool)) != 4 {
				t.Errorf("pool: %v", pool)
			}
		})
	}
}

// Who may use a translation that names nobody: the fabric, and hosts whose prefixes or addresses are no part of it.
func TestTranslationClients(t *testing.T) {
	s := read(t, fabric+translated+`
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: adopted}
spec: {cluster: main, prefix: "2001:db8:20:1::/64", addresses: ["2001:db8:10::11"]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: retired}
spec: {cluster: main, prefix: "2001:db8:20:2::/64", addresses: ["2001:db8:10::12"], retired: 2026-01-01T00:00:00Z}
`)
	m := modelOf(t, s)
	at := slices.IndexFunc(s.Hosts, func(h *v1alpha1.Host) bool { return h.ObjectName() == "h18" })
	got := objects.Translation(s, m, s.Hosts[at]).Clients
	for a, want := range map[string]bool{
		m.Plan.Prefix.Addr().Next().String(): true, "2001:db8:20:1::5": true, "2001:db8:10::11": true, "2001:db8:10::10": false,
		"2001:db8:20:2::5": false, "2001:db8:10::12": false,
	} {
		if has := slices.ContainsFunc(got, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(a)) }); has != want {
			t.Errorf("%s may use it: %v, want %v; clients are %v", a, has, want, got)
		}
	}
	s.Translations[0].Spec.Clients = []v1alpha1.Prefix{v1alpha1.PrefixFrom(netip.MustParsePrefix("2001:db8:f::/64"))}
	if got := objects.Translation(s, m, s.Hosts[at]).Clients; len(got) != 1 || got[0].String() != "2001:db8:f::/64" {
		t.Errorf("clients that are named: %v", got)
	}
}

func TestCarriers(t *testing.T) {
	s := read(t, fabric+translated)
	more := v1alpha1.NewTranslation("other", v1alpha1.TranslationSpec{Hosts: []string{"cloud"}, Prefixes: []v1alpha1.Prefix{v1alpha1.PrefixFrom(netip.MustParsePrefix("2001:db8:46::/96"))}})
	s.Translations[0].Spec.Hosts = []string{"h18"}
	s.Translations = append(s.Translations, more)
	for host, want := range map[string][]string{
		"h18":   {"64:ff9b::/96", "2001:db8:64::/48=10.0.0.0/8"},
		"cloud": {"2001:db8:46::/96"},
		"none":  {"64:ff9b::/96", "2001:db8:64::/48=10.0.0.0/8"}, // translates by others
	} {
		var got []string
		list, none := objects.Carriers(s, host, nil)
		if none != "" {
			t.Errorf("%s: %s", host, none)
		}
		for _, p := range list {
			b, err := p.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	s.Translations = nil
	if got, none := objects.Carriers(s, "h18", nil); got != nil || none != "" {
		t.Errorf("without a translation: %v %s", got, none)
	}
}

// A host that uses the NAT64 of a provider translates nothing itself: names lead to what was written, or to all that was found; while nothing is
// found they lead nowhere, and it is told why. Other hosts are not touched by it.
func TestUpstream(t *testing.T) {
	s := read(t, fabric+translated)
	m := modelOf(t, s)
	wkp, own, found := netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2001:db8:64::/96"), netip.MustParsePrefix("2001:db8:65::/96")
	spec := v1alpha1.TranslationSpec{Hosts: []string{"cloud"}, Upstream: &v1alpha1.Upstream{}, Advertise: []string{"lan0"}}
	s.Translations = append([]*v1alpha1.Translation{v1alpha1.NewTranslation("a-provider", spec)}, s.Translations...)
	s.Translations[1].Spec.Hosts = []string{"h18"}
	host, _ := s.Host("cloud")
	if got := objects.Translation(s, m, host); got != nil {
		t.Errorf("the host translates itself: %+v", got)
	}
	if got := objects.Upstream(s, host); got == nil || got.Name != "a-provider" || got.Prefixes != nil || !slices.Equal(got.Tell, spec.Advertise) {
		t.Errorf("upstream %+v", got)
	}
	for _, tc := range []struct {
		name    string
		host    string
		written []netip.Prefix
		found   []netip.Prefix
		want    []netip.Prefix
		none    dns64.Why
	}{
		{"nothing found", "cloud", nil, nil, nil, dns64.NoUpstream},
		{"two found", "cloud", nil, []netip.Prefix{own, found}, []netip.Prefix{own, found}, ""},
		{"written", "cloud", []netip.Prefix{own}, nil, []netip.Prefix{own}, ""},
		{"a host that it does not name", "none", nil, nil, []netip.Prefix{wkp, netip.MustParsePrefix("2001:db8:64::/48")}, ""},
	} {
		s.Translations[0].Spec.Prefixes = nil
		for _, p := range tc.written {
			s.Translations[0].Spec.Prefixes = append(s.Translations[0].Spec.Prefixes, v1alpha1.PrefixFrom(p))
		}
		list, none := objects.Carriers(s, tc.host, tc.found)
		var got []netip.Prefix
		for _, p := range list {
			got = append(got, p.Prefix())
		}
		if !slices.Equal(got, tc.want) || none != tc.none {
			t.Errorf("%s: %v %q, want %v %q", tc.name, got, none, tc.want, tc.none)
		}
	}
	x, err := xlat.NewPref64(found)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(objects.Policies(s, m, found).Carried, x) {
		t.Errorf("IPv4 networks of policies do not hold in %s, which was found", found)
	}
}

// Hosts that announce a pool go on for each other: each knows all of them, where their translators are reached, and who is to have which
// address in which order.
func TestGatewaysGoOnForEachOther(t *testing.T) {
	s := read(t, fabric+translated)
	m := modelOf(t, s)
	host := func(name string) *v1alpha1.Host { h, _ := s.Host(name); return h }
	alone := objects.Translation(s, m, host("h18"))
	if alone.Group != nil {
		t.Errorf("nothing is announced, and it is in a group: %+v", alone.Group)
	}
	s.Translations[0].Spec.Announce = true
	one, two := objects.Translation(s, m, host("h18")), objects.Translation(s, m, host("cloud"))
	if one.Group == nil || two.Group == nil || !slices.Equal(one.Group.Members, two.Group.Members) {
		t.Fatalf("groups %+v and %+v", one.Group, two.Group)
	}
	for i, x := range []*desired.Translation{two, one} {
		if got := x.Group.Members[i]; got.At != x.Group.Self || !got.At.IsValid() || got.Name != []string{"cloud", "h18"}[i] {
			t.Errorf("member %d is %+v, reached at %s", i, got, x.Group.Self)
		}
	}
	if want := netip.MustParseAddr("2001:db8:a000:c12:3::1"); one.Group.Self != want {
		t.Errorf("reached at %s, want %s", one.Group.Self, want)
	}
	if len(one.Pool) < 2 || !slices.Equal(one.Pool, two.Pool) {
		t.Errorf("pools %v and %v", one.Pool, two.Pool)
	}
	for i, a := range one.Pool {
		if ranks := []int{one.Group.Ranks[i], two.Group.Ranks[i]}; ranks[0]+ranks[1] != 1 || slices.Contains(alone.Pool, a) != (ranks[0] == 0) {
			t.Errorf("%s has ranks %v; alone the first has %v", a, ranks, alone.Pool)
		}
	}
	s.Translations[0].Spec.Hosts = []string{"h18"}
	if x := objects.Translation(s, m, host("h18")); x.Group != nil {
		t.Errorf("one host is a group: %+v", x.Group)
	}
}

func TestAnnounced(t *testing.T) {
	told := v1alpha1.NewTranslation("told", v1alpha1.TranslationSpec{Announce: true,
		Prefixes: []v1alpha1.Prefix{v1alpha1.PrefixFrom(netip.MustParsePrefix("64:ff9b::/96"))}, Pool: []v1alpha1.Prefix{v1alpha1.PrefixFrom(netip.MustParsePrefix("45.66.0.0/30"))}})
	own := v1alpha1.NewTranslation("own", v1alpha1.TranslationSpec{Prefixes: []v1alpha1.Prefix{v1alpha1.PrefixFrom(netip.MustParsePrefix("2001:db8:64::/48"))}})
	got := objects.Announced(v1alpha1.Set{Translations: []*v1alpha1.Translation{own, told}})
	if want := []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("45.66.0.0/30")}; !slices.Equal(got, want) {
		t.Errorf("routers are told of %v, want %v", got, want)
	}
}
