//go:build cluster

package objects_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/objects"
)

func prefix(s string) v1alpha1.Prefix { return v1alpha1.PrefixFrom(netip.MustParsePrefix(s)) }
func addr(s string) v1alpha1.Addr     { return v1alpha1.AddrFrom(netip.MustParseAddr(s)) }

// refusals are creations and changes that the API server alone must refuse, without a controller or a webhook.
func refusals(c *objects.Client, t *testing.T) map[string]func() error {
	wrong := func(h *v1alpha1.Header, name string) { h.Metadata.Name = v1alpha1.Name(name) }
	prefixNamed := func(name, p string) func() error {
		return func() error {
			o := v1alpha1.NewHostPrefix(v1alpha1.HostPrefixSpec{Prefix: prefix(p), Host: "h9"})
			wrong(&o.Header, name)
			_, err := objects.In(c, objects.HostPrefixes()).Create(t.Context(), o)
			return err
		}
	}
	addressNamed := func(name, a string) func() error {
		return func() error {
			o := v1alpha1.NewAddress(v1alpha1.AddressSpec{Address: addr(a), Pool: "web", Name: "web-1"})
			wrong(&o.Header, name)
			_, err := objects.In(c, objects.Addresses()).Create(t.Context(), o)
			return err
		}
	}
	translation := func(spec v1alpha1.TranslationSpec) func() error {
		return func() error {
			_, err := objects.In(c, objects.Translations()).Create(t.Context(), v1alpha1.NewTranslation("wrong", spec))
			return err
		}
	}
	pool, ten := []v1alpha1.Prefix{prefix("45.66.0.0/28")}, []v1alpha1.Prefix{prefix("10.0.0.0/8")}
	return map[string]func() error{
		"a prefix of no length for IPv4":        translation(v1alpha1.TranslationSpec{Pool: pool, Prefixes: []v1alpha1.Prefix{prefix("2001:db8::/90")}}),
		"an IPv4 prefix to carry IPv4":          translation(v1alpha1.TranslationSpec{Pool: pool, Prefixes: ten}),
		"ports of the host beside a pool":       translation(v1alpha1.TranslationSpec{Pool: pool, HostPorts: &v1alpha1.PortRange{First: 36864, Last: 65535}}),
		"ports of the host that are no blocks":  translation(v1alpha1.TranslationSpec{HostPorts: &v1alpha1.PortRange{First: 40000, Last: 65535}}),
		"a pool of IPv6":                        translation(v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("2001:db8::/64")}}),
		"clients of IPv4":                       translation(v1alpha1.TranslationSpec{Pool: pool, Clients: ten}),
		"private servers, well-known prefix":    translation(v1alpha1.TranslationSpec{Pool: pool, Private: ten, Prefixes: []v1alpha1.Prefix{prefix("64:ff9b::/96")}}),
		"a prefix under another's name":         prefixNamed("20010db8a01010000000000000000000-64", "2001:db8:a010:1001::/64"),
		"a prefix under another length":         prefixNamed("20010db8a01010010000000000000000-63", "2001:db8:a010:1001::/64"),
		"a prefix without its length":           prefixNamed("20010db8a01010010000000000000000", "2001:db8:a010:1001::/64"),
		"a prefix under a name that is no name": prefixNamed("h9", "2001:db8:a010:1001::/64"),
		"a prefix with host bits":               prefixNamed("20010db8a01010010000000000000001-64", "2001:db8:a010:1001::1/64"),
		"an IPv4 prefix under another's name":   prefixNamed("00000000000000000000ffff0a000200-120", "10.0.1.0/24"),
		"an IPv4 prefix under its IPv6 length":  prefixNamed("00000000000000000000ffff0a000100-24", "10.0.1.0/24"),
		"an address under another's name":       addressNamed("20010db8a01000000005000000000008", "2001:db8:a010:0:5::7"),
		"an address under a name in capitals":   addressNamed("20010DB8A01000000005000000000009", "2001:db8:a010:0:5::9"),
		"an address that is none":               addressNamed("20010db8a01000000005000000000009", "::"),
		"an identity under another's name":      func() error { return create(t, c, named(identity(300, "shop"), "id-301")) },
		"a reserved identity":                   func() error { return create(t, c, identity(255, "shop")) },
		"an identity behind the last":           func() error { return create(t, c, identity(131071, "shop")) },
		"another set for a number":              func() error { return change(t, c, objects.Identities(), "id-256", `{"spec":{"namespace":"other"}}`) },
		"other labels for a number":             func() error { return change(t, c, objects.Identities(), "id-256", `{"spec":{"labels":{"app":"db"}}}`) },
		"another host for a prefix": func() error {
			return change(t, c, objects.HostPrefixes(), "20010db8a01010000000000000000000-64", `{"spec":{"host":"h2"}}`)
		},
		"another prefix for a host": func() error {
			return change(t, c, objects.Hosts(), "h1", `{"spec":{"prefix":"2001:db8:a010:1009::/64"}}`)
		},
		"no prefix for a host that has one": func() error { return change(t, c, objects.Hosts(), "h1", `{"spec":{"prefix":null}}`) },
		"another fabric":                    func() error { return change(t, c, objects.AddressPlans(), "lab", `{"spec":{"prefix":"3fff::/37"}}`) },
		"sealing what is readable":          func() error { return change(t, c, objects.AddressPlans(), "lab", `{"spec":{"hostPart":"sealed"}}`) },
		"a word that is not known":          func() error { return change(t, c, objects.AddressPlans(), "lab", `{"spec":{"identityTrust":"blind"}}`) },
		"another pool for an address": func() error {
			return change(t, c, objects.Addresses(), "20010db8a01000000005000000000007", `{"spec":{"pool":"db"}}`)
		},
		"another endpoint for an address": func() error {
			return change(t, c, objects.Addresses(), "20010db8a01000000005000000000007", `{"spec":{"name":"web-2"}}`)
		},
		"another range for a pool": func() error {
			return change(t, c, objects.Pools(), "web", `{"spec":{"prefix":"2001:db8:a010:0:6::/80"}}`)
		},
	}
}

func named(o *v1alpha1.Identity, name string) *v1alpha1.Identity {
	o.Metadata.Name = v1alpha1.Name(name)
	return o
}

func identity(n uint32, namespace string) *v1alpha1.Identity {
	o := v1alpha1.NewIdentity(v1alpha1.IdentitySpec{Number: n, Namespace: namespace, Labels: map[string]string{"app": "web"}})
	v1alpha1.Validate(o)
	return o
}

func create(t *testing.T, c *objects.Client, o *v1alpha1.Identity) error {
	_, err := objects.In(c, objects.Identities()).Create(t.Context(), o)
	return err
}

func change[T any](t *testing.T, c *objects.Client, r objects.Resource[T], name, patch string) error {
	_, err := objects.In(c, r).Patch(t.Context(), name, "", []byte(patch))
	return err
}

func made[T any](t *testing.T, c *objects.Client, r objects.Resource[T], o *T) *T {
	t.Helper()
	got, err := objects.In(c, r).Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestKinds: the API server takes our kinds as the structs write them, and refuses by itself what would give one thing two owners.
func TestKinds(t *testing.T) {
	s := kubetest.Start(t)
	s.InstallKinds()
	c := s.Client()
	number := uint32(0)
	made(t, c, objects.AddressPlans(), v1alpha1.NewAddressPlan("lab", v1alpha1.AddressPlanSpec{Prefix: prefix("2001:db8:a000::/37"), Lab: true, HostPart: v1alpha1.HostPartReadable,
		IPv4: &v1alpha1.IPv4Plan{Prefix: prefix("10.0.0.0/12")}}))
	host := made(t, c, objects.Hosts(), v1alpha1.NewHost("h1", v1alpha1.HostSpec{Rack: "1", Number: &number, Prefix: prefix("2001:db8:a010:1000::/64"), Addresses: []v1alpha1.Addr{addr("2001:db8:f::1")}, MAC: "02:00:00:00:00:01"}))
	made(t, c, objects.Pools(), v1alpha1.NewPool("web", v1alpha1.PoolSpec{Prefix: prefix("2001:db8:a010:0:5::/80"), Namespaces: []string{"shop"}}))
	made(t, c, objects.Addresses(), v1alpha1.NewAddress(v1alpha1.AddressSpec{Address: addr("2001:db8:a010:0:5::7"), Pool: "web", Namespace: "shop", Name: "web-0"}))
	made(t, c, objects.Identities(), identity(256, "shop"))
	made(t, c, objects.Identities(), identity(131070, "shop"))
	made(t, c, objects.BGPPeers(), v1alpha1.NewBGPPeer("tor", v1alpha1.BGPPeerSpec{Interface: "eth0", Accept: []v1alpha1.Prefix{prefix("203.0.113.0/24")}}))
	made(t, c, objects.Translations(), v1alpha1.NewTranslation("plain", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("45.66.0.0/28")}, HostLabels: map[string]string{"role": "gateway"}}))
	made(t, c, objects.Translations(), v1alpha1.NewTranslation("bare", v1alpha1.TranslationSpec{}))
	made(t, c, objects.Translations(), v1alpha1.NewTranslation("ports", v1alpha1.TranslationSpec{HostPorts: &v1alpha1.PortRange{First: 49152, Last: 65535}}))
	made(t, c, objects.Translations(), v1alpha1.NewTranslation("own", v1alpha1.TranslationSpec{Pool: []v1alpha1.Prefix{prefix("45.66.1.0/28")}, Private: []v1alpha1.Prefix{prefix("10.0.0.0/8")},
		Prefixes: []v1alpha1.Prefix{prefix("64:ff9b::/96"), prefix("2001:db8:64::/48")}, Clients: []v1alpha1.Prefix{prefix("2001:db8:a000::/37")}, Blocks: 4}))
	made(t, c, objects.HostPrefixes(), v1alpha1.NewHostPrefix(v1alpha1.HostPrefixSpec{Prefix: prefix("2001:db8:a010:1000::/64"), Host: "h1", Rack: "1", Number: &number}))
	made(t, c, objects.HostPrefixes(), v1alpha1.NewHostPrefix(v1alpha1.HostPrefixSpec{Prefix: prefix("10.0.1.0/24"), Host: "h1"}))
	made(t, c, objects.HostPrefixes(), v1alpha1.NewHostPrefix(v1alpha1.HostPrefixSpec{Prefix: prefix("2001:db8:ffff:7::1:0/112"), Host: "h2", Adopted: true}))
	made(t, c, objects.HostStatuses(), v1alpha1.NewHostStatus("h1", v1alpha1.HostReport{Round: 7, Prefixes: []v1alpha1.Prefix{prefix("2001:db8:a010:1000::/64")}, Identities: []uint32{256}}))
	if host.Spec.Rack != "1" || host.Metadata.UID == "" || host.Metadata.CreationTimestamp == nil {
		t.Errorf("host as it was made: %+v", host)
	}
	if err := change(t, c, objects.Hosts(), "h1", `{"spec":{"rack":1}}`); err != nil {
		t.Errorf("a rack by its number: %v", err)
	}
	if err := change(t, c, objects.HostPrefixes(), "20010db8a01010000000000000000000-64", `{"spec":{"retired":"2026-01-31T12:00:00Z"}}`); err != nil {
		t.Errorf("retire a prefix: %v", err)
	}
	if h, err := objects.In(c, objects.Hosts()).Get(t.Context(), "h1"); err != nil || h.Spec.Rack != "1" {
		t.Errorf("rack %q, %v", h.Spec.Rack, err)
	}
	if err := change(t, c, objects.Hosts(), "h1", `{"spec":{"ipv4Prefix":"10.0.1.0/24"}}`); err != nil {
		t.Errorf("the IPv4 prefix of a host: %v", err)
	}
	columns(t, s, "addressplans", "Name=lab Prefix=2001:db8:a000::/37 Mode= Hosts= Silent= Resting= Accepted=")
	columns(t, s, "hosts", `Name=h1 Rack=1 Prefix=2001:db8:a010:1000::/64 IPv4=10.0.1.0/24 Addresses=["2001:db8:f::1"] MAC=02:00:00:00:00:01 Accepted=`)
	for name, try := range refusals(c, t) {
		t.Run(name, func(t *testing.T) {
			err := try()
			if !errors.Is(err, objects.ErrRefused) {
				t.Fatalf("%v", err)
			}
			if strings.Contains(err.Error(), "no such overload") || strings.Contains(err.Error(), "rule compile") {
				t.Errorf("refused for a fault of the rule: %v", err)
			}
			t.Log(err)
		})
	}
}
