package v1alpha1

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everything is one object of each kind with every field that can be written.
const everything = `
apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: all}
spec:
  prefix: 2001:db8:a000::/36
  profile: nibble
  levels: {fabric: 36, cluster: 44, edgeCluster: 48, rack: 52, host: 64}
  lab: true
  clusters:
  - name: main
    number: 1
    racks: [{name: r1, number: 1, asn: 4200000002}]
  - {name: edge, number: 2, edge: true, prefix: "3fff:0:2::/48"}
  hostPart: sealed
  sealKeyFile: keys/seal.key
  rest: 36h
  minRest: 90s
  journal: {retention: 400d, sink: {command: [/usr/local/bin/ship, --to, archive]}}
  hostPrefixes: plan
  ipv4: {prefix: 10.0.0.0/12, hostLength: 26}
  identity: {keyVersion: 1, excludeLabels: [team.example/owner], quarantine: 2h}
  identityTrust: exact
  outside: closed
  peers: [{name: east, prefix: "3fff:e::/48", identityBearing: true}]
  asn: {spine: 4200009999}
  routerIDs: {main/r1: 192.0.2.1}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec:
  cluster: main
  rack: 1
  number: 0
  prefix: 2001:db8:a010:1000::/64
  ipv4Prefix: 10.0.1.0/24
  bornAfter: "2026-01-30T12:00:00Z"
  addresses: ["3fff:f::1"]
  mac: 02-00-00-00-00-0A
  uplinks: [{name: eth0, address: "3fff:f::2", gateway: fe80::1, segment: lan, external: true}]
  clock: trusted
  retired: 2026-01-31T13:00:00.5+01:00
---
apiVersion: hexapod.dev/v1alpha1
kind: Pool
metadata: {name: web}
spec: {prefix: "2001:db8:a010:0:5::/80", namespaces: [shop], description: "a: line # of text"}
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-423}
spec: {number: 0x1a7, namespace: shop, labels: {app: web, example.com/tier: ""}, keyVersion: 1, retired: "2026-01-31T12:00:00Z"}
---
apiVersion: hexapod.dev/v1alpha1
kind: Address
metadata: {name: 20010db8a01000000005000000000007}
spec: {address: "2001:db8:a010:0:5::7", pool: web, namespace: shop, name: web-0}
---
apiVersion: hexapod.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec:
  interface: eth0
  address: fe80::1
  asn: 65538
  localASN: 4200000003
  cluster: main
  racks: [r1]
  hosts: [h1]
  passwordFile: keys/tor
  gtsm: true
  passive: true
  allowDefault: true
  accept: ["3fff:e::/48", 203.0.113.0/24]
  maxPrefixes: 100
  communities: ["65001:100", "4200000001:1:2"]
  holdTime: 30s
  keepalive: 10s
  gracefulRestart: {restartTime: 60s}
  bfd: {interval: 100ms, multiplier: 3}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: front, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [a, b]}]}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - {podSelector: {}, namespaceSelector: {matchLabels: {team: a}}}
    - ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}
    ports: [{protocol: TCP, port: 80, endPort: 90}, {port: https}, {protocol: UDP}]
  egress: [{to: [{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}], ports: [{port: 53}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: ops}
spec:
  tier: Admin
  priority: 10
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}
  ingress:
  - {name: metrics, action: Accept, from: [{namespaces: {matchLabels: {team: ops}}}], protocols: [{tcp: {destinationPort: {number: 9100}}}, {destinationNamedPort: metrics}]}
  egress:
  - {action: Deny, to: [{nodes: {}}, {networks: ["2001:db8::/32"]}], protocols: [{udp: {destinationPort: {range: {start: 1, end: 9}}}}, {sctp: {}}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Publication
metadata: {name: front}
spec: {namespace: shop, podSelector: {matchLabels: {app: web}}, ports: [{port: 443}]}
`

func all(t *testing.T) []Object {
	t.Helper()
	objects, problems := Decode("all.yaml", []byte(everything))
	if problems = append(problems, Check(objects)...); len(problems) > 0 {
		t.Fatal(problems)
	}
	return objects
}

// TestJSON: as resources of Kubernetes the same structs are written in JSON; nothing is lost on that way.
func TestJSON(t *testing.T) {
	for _, o := range all(t) {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again := newObject(o.Head().Kind)
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(again); err != nil {
			t.Fatalf("%s: %v\n%s", o.Head().Kind, err, text)
		}
		if diff := cmp.Diff(o, again, sameObjects); diff != "" {
			t.Errorf("-made +read:\n%s\n%s", diff, text)
		}
		if problems := Validate(again); len(problems) > 0 {
			t.Errorf("%s: %v", o.Head().Kind, problems)
		}
	}
}

func TestYAML(t *testing.T) {
	objects := all(t)
	text, err := Encode(objects...)
	if err != nil {
		t.Fatal(err)
	}
	again, problems := Decode("again.yaml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(objects, again, sameObjects); diff != "" {
		t.Errorf("-made +read:\n%s\n%s", diff, text)
	}
}

func TestWhatIsRead(t *testing.T) {
	s := Group(all(t))
	h, ok := s.Host("h1")
	if !ok || h.Living() || !h.RetiredAt().Equal(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("h1: %v, %v", ok, h.RetiredAt())
	}
	if h.Spec.MAC != "02:00:00:00:00:0a" {
		t.Errorf("MAC %s", h.Spec.MAC)
	}
	if c, ok := s.Plan.Cluster("1"); !ok || c.Name != "main" {
		t.Errorf("cluster by number: %v, %v", c, ok)
	}
	if c, ok := s.Plan.Cluster("2"); ok {
		t.Errorf("an edge cluster by number: %v", c)
	}
	if _, ok := s.Plan.Cluster(""); ok {
		t.Error("no reference among two clusters finds one")
	}
	if got := len(s.Objects()); got != 9 {
		t.Errorf("%d objects, want 9", got)
	}
	if n := AddressName(netip.MustParseAddr("2001:db8:a010:0:5::7")); n != "20010db8a01000000005000000000007" {
		t.Errorf("name %s", n)
	}
}

func TestDefaults(t *testing.T) {
	p := NewAddressPlan("a", AddressPlanSpec{Prefix: PrefixFrom(netip.MustParsePrefix("2001:db8::/37")), IPv4: &IPv4Plan{Prefix: PrefixFrom(netip.MustParsePrefix("10.0.0.0/8"))}})
	if problems := Validate(p); len(problems) > 0 {
		t.Fatal(problems)
	}
	once := *p
	if diff := cmp.Diff(Levels{37, 44, 48, 54, 64}, p.Spec.Levels); diff != "" {
		t.Errorf("levels: %s", diff)
	}
	if p.Spec.Rest.Duration != 168*time.Hour || p.Spec.MinRest.Duration != 10*time.Minute || p.Spec.IPv4.HostLength != 24 ||
		p.Spec.HostPart != HostPartReadable || p.Spec.IdentityTrust != TrustBits || p.Spec.Identity.KeyVersion != 1 {
		t.Errorf("defaults: %+v", p.Spec)
	}
	p.setDefaults()
	if diff := cmp.Diff(&once, p, sameObjects); diff != "" {
		t.Errorf("defaults twice: %s", diff)
	}
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		text, want string
		d          time.Duration
	}{
		{"7d", "7d", 168 * time.Hour}, {"168h", "7d", 168 * time.Hour}, {"90s", "1m30s", 90 * time.Second},
		{"10m", "10m", 10 * time.Minute}, {"36h", "36h", 36 * time.Hour}, {"0s", "0s", 0}, {"106751d", "106751d", 106751 * day},
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(c.text)); err != nil || d.Duration != c.d || d.String() != c.want {
			t.Errorf("%s: %v, %s, %v", c.text, d.Duration, d, err)
		}
	}
	// 106,751 days are the most that 63 bits of nanoseconds hold.
	for _, text := range []string{"", "d", "7", "-7d", "-1s", "7 days", "1d12h", "106752d", "99999999999999999999d"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %s", text, d)
		}
	}
}

func TestDeepCopy(t *testing.T) {
	p, a, none := PrefixFrom(netip.MustParsePrefix("2001:db8::/32")), AddrFrom(netip.MustParseAddr("2001:db8::1")), (*Prefix)(nil)
	if q := p.DeepCopy(); *q != p || q == &p {
		t.Errorf("prefix: %v", q)
	}
	if b := a.DeepCopy(); *b != a || b == &a {
		t.Errorf("address: %v", b)
	}
	if none.DeepCopy() != nil || (*Addr)(nil).DeepCopy() != nil {
		t.Error("a copy of nothing is something")
	}
}
