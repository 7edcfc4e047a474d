package objects_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/ipam"
)

const fabric = `
apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: lab}
spec:
  prefix: 2001:db8:a000::/37
  lab: true
  clusters:
  - name: main
    number: 0
    racks: [{name: r3, number: 3, asn: 4200000100}]
  asn: {spine: 4200009999}
  peers:
  - {name: east, prefix: "3fff:e::/48", identityBearing: true}
  - {name: west, prefix: "3fff:d::/48"}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h18}
spec:
  rack: 3
  number: 18
  mac: 02:00:00:00:00:12
  uplinks: [{name: eth0, address: fe80::12, gateway: fe80::1, segment: lan, external: true}]
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: cloud}
spec: {prefix: "3fff:c:0:7::/80"}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: old}
spec: {rack: r3, number: 18, retired: "2025-01-02T00:00:00Z"}
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-423}
spec: {number: 423, namespace: shop, labels: {app: web}}
---
apiVersion: hexapod.dev/v1alpha1
kind: Pool
metadata: {name: web}
spec: {prefix: "2001:db8:a000:3::/64", namespaces: [shop]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Address
metadata: {name: 20010db8a00000030000000000000007}
spec: {address: "2001:db8:a000:3::7", pool: web, namespace: shop, name: web-0}
`

func read(t *testing.T, text string) v1alpha1.Set {
	t.Helper()
	list, problems := v1alpha1.Decode("f.yaml", []byte(text))
	if problems = append(problems, v1alpha1.Check(list)...); len(problems) > 0 {
		t.Fatal(problems)
	}
	return v1alpha1.Group(list)
}

func modelOf(t *testing.T, s v1alpha1.Set) objects.Model {
	t.Helper()
	m, problems := objects.For(s)
	if errs := problems.Errors(); len(errs) > 0 {
		t.Fatal(errs)
	}
	return m
}

// opaque compares addresses as what they are, not by their insides.
var opaque = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestModel(t *testing.T) {
	s := read(t, fabric)
	m := modelOf(t, s)
	want := addressplan.Plan{
		Name: "lab", Prefix: netip.MustParsePrefix("2001:db8:a000::/37"), Lengths: addressplan.DefaultLengths(),
		Clusters: []addressplan.Cluster{{Name: "main", Racks: []addressplan.Rack{{Name: "r3", Number: 3, ASN: 4200000100}}}},
		Hosts: []addressplan.Host{
			{Name: "cloud", Cluster: "main", Prefix: netip.MustParsePrefix("3fff:c:0:7::/80"), Adopted: true},
			{Name: "h18", Cluster: "main", Rack: "r3", Number: 18, MAC: "02:00:00:00:00:12"},
			{Name: "old", Cluster: "main", Rack: "r3", Number: 18, Retired: true, RetiredAt: 86400},
		},
		Lab: true, Rest: 7 * addressplan.Day, SpineASN: 4200009999,
	}
	if diff := cmp.Diff(want, m.Plan, opaque, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("plan: -want +got\n%s", diff)
	}
	if n, ok := m.Identities.Number(identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web", "pod-template-hash": "x"}}); n != 423 || !ok {
		t.Errorf("identity: %v, %v", n, ok)
	}
	claim := map[netip.Addr]objects.Claim{netip.MustParseAddr("2001:db8:a000:3::7"): {Pool: "web", Namespace: "shop", Name: "web-0"}}
	if diff := cmp.Diff(claim, m.Claims, opaque); diff != "" {
		t.Errorf("claims: -want +got\n%s", diff)
	}
}

func TestConfig(t *testing.T) {
	s := read(t, fabric)
	m := modelOf(t, s)
	got, err := objects.Config(s, m, "h18")
	if err != nil {
		t.Fatal(err)
	}
	want := desired.Config{
		Fabric: netip.MustParsePrefix("2001:db8:a000::/37"),
		Self: desired.Host{
			Name: "h18", Prefix: netip.MustParsePrefix("2001:db8:a000:c12::/64"), MAC: desired.MAC{2, 0, 0, 0, 0, 0x12},
			Uplinks: []desired.Uplink{{Name: "eth0", Address: netip.MustParseAddr("fe80::12"), Gateway: netip.MustParseAddr("fe80::1"), Segment: "lan", External: true}},
		},
		Peers: []desired.Host{
			{Name: "cloud", Prefix: netip.MustParsePrefix("3fff:c:0:7::/80")},
			{Name: "old", Prefix: netip.MustParsePrefix("2001:db8:a000:c12::/64"), Retired: true},
		},
		Pools: []desired.Pool{{Name: "web", Prefix: netip.MustParsePrefix("2001:db8:a000:3::/64"), Namespaces: []string{"shop"}}},
	}
	if diff := cmp.Diff(want, got, opaque); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, err := objects.Config(s, m, "h19"); err == nil || !strings.Contains(err.Error(), "host h19 is not in the configuration") || !strings.Contains(err.Error(), "cloud, h18, old") {
		t.Errorf("a host that is not there: %v", err)
	}
}

func TestDirectory(t *testing.T) {
	s := read(t, fabric)
	b, err := objects.Believed(s, modelOf(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := b.Directory()
	for a, want := range map[string]identity.Answer{
		"2001:db8:a000:c12:1a7:38b:8d98:3": {Number: 0x1a7, By: identity.ByBits},
		"3fff:c:0:7:0:1a7:0:5":             {Number: 0x1a7, By: identity.ByBits}, // a /80 has its identity one group later
		"3fff:e:0:9:1a7:38b:8d98:3":        {Number: 0x1a7, By: identity.ByBits},
		"3fff:d:0:9:1a7:38b:8d98:3":        {By: identity.ByBits}, // a peer whose bits are not believed
		"2001:db8:a000:c13:1a7:38b:8d98:3": {By: identity.ByBits}, // inside, and no host has it
		"2001:db8:a000:3::7":               {By: identity.ByBits}, // a pool says nothing about who
		"3fff:c:0:8:0:1a7:0:5":             {By: identity.Outside},
	} {
		if got := d.Who(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}

func TestDirectorySealed(t *testing.T) {
	s := read(t, strings.Replace(fabric, "  lab: true\n", "  lab: true\n  hostPart: sealed\n  sealKeyFile: seal.key\n", 1))
	seal, err := ipam.NewSeal(make([]byte, ipam.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	b, err := objects.Believed(s, modelOf(t, s), seal)
	if err != nil {
		t.Fatal(err)
	}
	d := b.Directory()
	l, err := ipam.NewLayout(netip.MustParsePrefix("2001:db8:a000:c12::/64"), seal)
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Encode(ipam.Fields{Identity: 0x1a7, Born: 59477400, Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Who(a); got != (identity.Answer{Number: 0x1a7, By: identity.ByBits}) {
		t.Errorf("%s: %v", a, got)
	}
}

// TestProblems are mistakes that take the plan's arithmetic to see.
func TestProblems(t *testing.T) {
	pool := func(prefix string) string {
		return "---\napiVersion: hexapod.dev/v1alpha1\nkind: Pool\nmetadata: {name: bad}\nspec:\n  prefix: \"" + prefix + "\"\n"
	}
	host := func(spec string) string {
		return "---\napiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata: {name: bad}\nspec:\n  " + spec + "\n"
	}
	for _, c := range []struct{ name, add, want string }{
		{"pool in a host prefix", pool("2001:db8:a000:c12:5::/80"),
			`f.yaml:55:11: Pool bad: spec.prefix: 2001:db8:a000:c12:5::/80 overlaps the prefix of host h18, 2001:db8:a000:c12::/64; take it from rack 0 of a cluster, which is kept for roles, or from outside the fabric`},
		{"pool around a host prefix", pool("2001:db8:a000:c00::/56"),
			`f.yaml:55:11: Pool bad: spec.prefix: 2001:db8:a000:c00::/56 overlaps the prefix of host h18, 2001:db8:a000:c12::/64; take it from rack 0 of a cluster, which is kept for roles, or from outside the fabric`},
		{"pool in a rack of hosts", pool("2001:db8:a000:1000::/64"),
			`f.yaml:55:11: Pool bad: spec.prefix: 2001:db8:a000:1000::/64 lies where hosts of cluster main are numbered; take it from rack 0 of a cluster, which is kept for roles, or from outside the fabric`},
		{"prefix is not what the plan gives", host(`{rack: r3, number: 19, prefix: "2001:db8:a000:c12::/64"}`),
			`f.yaml:55:34: Host bad: spec.prefix: 2001:db8:a000:c12::/64 is not what the plan gives to number 19; remove it or write 2001:db8:a000:c13::/64`},
		{"adopted inside the fabric", host(`{prefix: "2001:db8:a000:c13::/64"}`),
			`f.yaml:55:12: Host bad: spec.prefix: 2001:db8:a000:c13::/64 lies in the fabric 2001:db8:a000::/37, so it is numbered there; write rack and number`},
	} {
		_, problems := objects.For(read(t, fabric+c.add))
		got := problems.Errors()
		if len(got) != 1 || got[0].String() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.name, got, c.want)
		}
	}
}

func TestSetOfTwoNumbersIsAWarning(t *testing.T) {
	s := read(t, fabric+"---\napiVersion: hexapod.dev/v1alpha1\nkind: Identity\nmetadata: {name: id-424}\nspec:\n  number: 424\n  namespace: shop\n  labels: {app: web, job-name: j}\n")
	m, problems := objects.For(s)
	if errs := problems.Errors(); len(errs) > 0 {
		t.Fatal(errs)
	}
	const want = "f.yaml:57:11: warning: Identity id-424: spec.labels: is the set of number 423 again; new endpoints get the lower one; write retired: when no endpoint has the other number any more"
	if got := problems.Warnings().Error(); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n, _ := m.Identities.Number(identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web"}}); n != 423 {
		t.Errorf("number %v, want the lower", n)
	}
}

func TestRenumbered(t *testing.T) {
	s := read(t, fabric)
	m := modelOf(t, s)
	moved := read(t, strings.Replace(fabric, "number: 18\n", "number: 20\n", 1))
	after := modelOf(t, moved)
	const want = "f.yaml:21:3: Host h18: spec: has 2001:db8:a000:c12::/64 and would be renumbered to 2001:db8:a000:c14::/64; retire it first, or undo the change of the plan"
	if got := objects.Renumbered(&m, after, moved, nil).Error(); got != want {
		t.Errorf("moved:\n got %s\nwant %s", got, want)
	}
	living := map[string]netip.Prefix{"h18": netip.MustParsePrefix("2001:db8:a000:c12::/64"), "gone": netip.MustParsePrefix("2001:db8:a000:c15::/64")}
	if got := objects.Renumbered(nil, after, moved, living).Error(); got != want {
		t.Errorf("known to live:\n got %s\nwant %s", got, want)
	}
	if got := objects.Renumbered(&m, after, moved, living).Error(); got != want {
		t.Errorf("known twice:\n got %s\nwant %s", got, want)
	}
	if got := objects.Renumbered(&m, m, s, living); len(got) != 0 {
		t.Errorf("nothing changed: %v", got)
	}
	for i := range moved.Hosts {
		if moved.Hosts[i].ObjectName() == "h18" {
			now := v1alpha1.TimeFrom(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			moved.Hosts[i].Spec.Retired = &now
		}
	}
	if got := objects.Renumbered(&m, modelOf(t, moved), moved, living); len(got) != 0 {
		t.Errorf("a retired host may move: %v", got)
	}
}
