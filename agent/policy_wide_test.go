package agent_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/transport"
)

// wideCluster is a cluster whose pods have labels, and whose Identities may have numbers that do not fit into addresses.
type wideCluster struct {
	tellingCluster
	set      objects.Set
	labels   map[string]string // app of each pod, by name
	policies objects.ClusterPolicies
	reports  chan func() v1alpha1.HostReport
}

func (c *wideCluster) Load(context.Context) (objects.Set, error) { return c.set, nil }

func (c *wideCluster) Watch(ctx context.Context, tell func(objects.Set, error)) error {
	tell(c.set, nil)
	<-ctx.Done()
	return nil
}

func (c *wideCluster) Run(ctx context.Context, report func() v1alpha1.HostReport, _ func()) error {
	c.reports <- report
	<-ctx.Done()
	return nil
}

func (c *wideCluster) Pod(_ context.Context, namespace, name, _ string) (kube.Pod, bool) {
	app, ok := c.labels[name]
	return kube.Pod{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}}, ok
}

func (c *wideCluster) FollowPolicies(ctx context.Context, tell func(*objects.ClusterPolicies)) error {
	tell(&c.policies)
	<-ctx.Done()
	return nil
}

func (c *wideCluster) FollowServices(ctx context.Context, _ kube.ServiceSink) error {
	<-ctx.Done()
	return nil
}

// beyond are a set of labels that came when all numbers that fit into addresses were given, and what the controller made of the report of a host
// that has such a pod.
const beyond = `
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-65536}
spec: {number: 65536, namespace: shop, labels: {app: beyond}}
---
apiVersion: hexapod.dev/v1alpha1
kind: AddressSlice
metadata: {name: h2.0}
spec: {host: h2, revision: 5, entries: [{identity: 65536, addresses: ["2001:db8:a000:402::9"]}]}
`

// TestNumberThatFitsIntoNoAddress: a pod whose labels have such a number gets an address that says none, the agent reports who has it, and
// policies hold for it here and, by what slices say, when it is another host's; also after a restart.
func TestNumberThatFitsIntoNoAddress(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	docs, problems := v1alpha1.Decode("cluster", []byte(plan+database+allowBeyond+beyond))
	set, more := objects.Checked(docs, h.dir, "", v1alpha1.Error)
	if problems = append(problems, more...); len(problems.Errors()) > 0 {
		t.Fatal(problems)
	}
	c := &wideCluster{set: set, labels: map[string]string{"db": "db", "new": "beyond", "odd": "nobody"}, reports: make(chan func() v1alpha1.HostReport, 2),
		policies: objects.ClusterPolicies{NetworkPolicies: set.Objects.NetworkPolicies}}
	h.cluster = c
	a := h.start()
	report := <-c.reports
	addrs := map[string]netip.Addr{}
	paths := map[string]string{}
	for name := range c.labels {
		r := h.endpoint(name)
		r.Labels = nil
		got, err := a.Add(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		addrs[name], paths[name] = got.Addrs[0], r.NetNS
	}
	raw := addrs["new"].As16()
	if n := binary.BigEndian.Uint16(raw[8:]); n != uint16(identity.Unknown) {
		t.Errorf("%s says number %d", addrs["new"], n)
	}
	r := report()
	if len(r.Exact) != 1 || r.Exact[0].Identity != 65536 || len(r.Exact[0].Addresses) != 1 || r.Exact[0].Addresses[0].Addr != addrs["new"] {
		t.Errorf("the agent reports %+v; want who has %s", r.Exact, addrs["new"])
	}
	late := slices.ContainsFunc(r.Late, func(l v1alpha1.LateEndpoint) bool { return l.Address.Addr == addrs["new"] })
	if !slices.Contains(r.Identities, 65536) || r.Seen.Identity != 65536 || late {
		t.Errorf("the agent reports numbers %v, highest %d, late %v", r.Identities, r.Seen.Identity, r.Late)
	}

	echo(t, paths["db"], "5432")
	conn, err := dial(t, paths["new"], addrs["db"], 5432, 30*time.Second)
	if err != nil {
		t.Fatalf("what a policy accepts by these labels does not pass: %v", err)
	}
	conn.Close()
	if conn, err := dial(t, paths["odd"], addrs["db"], 5432, lost); err == nil {
		conn.Close()
		t.Error("a pod with other labels passes")
	}
	asked := func() {
		t.Helper()
		for from, want := range map[string]bool{"shop/new": true, "2001:db8:a000:402::9": true, "shop/odd": false, "2001:db8:a000:402::8": false} {
			e, err := h.client().ExplainPolicy(t.Context(), local.PolicyQuestion{From: from, To: "shop/db", Protocol: transport.TCP, Port: 5432})
			if err != nil || len(e.Verdicts) == 0 || e.Accepted != want || want != (e.From.Identity == 65536) {
				t.Errorf("from %s: %+v, %v; want accepted %v", from, e, err, want)
				continue
			}
			for _, v := range e.Verdicts {
				if v.Kernel != local.PolicyAgrees {
					t.Errorf("from %s, %s: the kernel %s", from, v.Direction, v.Kernel)
				}
			}
		}
	}
	asked()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.start()
	asked()
}

const allowBeyond = `  ingress:
  - from: [{podSelector: {matchLabels: {app: beyond}}}]
    ports: [{port: 5432}]
`
