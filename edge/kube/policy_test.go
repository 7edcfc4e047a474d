package kube

import (
	"context"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/model/transport"
)

const (
	frontService = `{"metadata":{"namespace":"shop","name":"front"},"spec":{"type":"LoadBalancer","selector":{"app":"web"},"ports":[{"port":443,"targetPort":"https"},{"port":53,"protocol":"UDP"}]}}`
	apiSlice     = `{"metadata":{"namespace":"default","name":"kubernetes","labels":{"kubernetes.io/service-name":"kubernetes"}},"addressType":"IPv6","endpoints":[{"addresses":["2001:db8:ffff::1"]}]}`
	denyAll      = `{"metadata":{"namespace":"shop","name":"deny"},"spec":{"podSelector":{},"policyTypes":["Ingress"]}}`
	passAll      = `{"metadata":{"name":"pass"},"spec":{"tier":"Admin","priority":1,"subject":{"namespaces":{}},"ingress":[{"action":"Pass","from":[{"namespaces":{}}]}]}}`
)

// Which Services open their endpoints to the outside.
func TestPublicationOfAService(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		open       []policy.Port
	}{
		{"of the cluster alone", `{"type":"ClusterIP","selector":{"a":"b"},"ports":[{"port":80}]}`, nil},
		{"with an external address", `{"type":"ClusterIP","externalIPs":["2001:db8::1"],"selector":{"a":"b"},"ports":[{"port":80}]}`, []policy.Port{{Protocol: transport.TCP, First: 80, Last: 80}}},
		{"on nodes", `{"type":"NodePort","selector":{"a":"b"},"ports":[{"port":80,"targetPort":8080}]}`, []policy.Port{{Protocol: transport.TCP, First: 8080, Last: 8080}}},
		{"by the name of a port", `{"type":"LoadBalancer","selector":{"a":"b"},"ports":[{"port":80,"targetPort":"web","protocol":"SCTP"}]}`, []policy.Port{{Protocol: transport.SCTP, Name: "web"}}},
		{"without a selector", `{"type":"NodePort","ports":[{"port":80}]}`, nil},
		{"a name for another", `{"type":"ExternalName","externalIPs":["2001:db8::1"],"selector":{"a":"b"},"ports":[{"port":80}]}`, nil},
	} {
		open, ok := publicationOf(parsed[kobjects.Service](t, `{"metadata":{"namespace":"shop","name":"x"},"spec":`+c.spec+`}`))
		if ok != (c.open != nil) || cmp.Diff(c.open, open.Ports) != "" {
			t.Errorf("%s: %v, %v", c.name, ok, cmp.Diff(c.open, open.Ports))
		}
	}
}

// heardPolicies follows a source that no API server feeds.
func heardPolicies(t *testing.T, s *Source) (next func() *objects.ClusterPolicies) {
	t.Helper()
	told := make(chan *objects.ClusterPolicies)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		ended <- s.FollowPolicies(ctx, func(p *objects.ClusterPolicies) {
			select {
			case told <- p:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() *objects.ClusterPolicies { return <-told }
}

func listPolicies(t *testing.T, s *Source) {
	t.Helper()
	p := &s.policies
	p.networkPolicies.Replace(kobjects.Listing[kobjects.NetworkPolicy]{Objects: []*kobjects.NetworkPolicy{parsed[kobjects.NetworkPolicy](t, denyAll)}})
	p.clusterPolicies.Replace(kobjects.Listing[kobjects.ClusterNetworkPolicy]{Objects: []*kobjects.ClusterNetworkPolicy{parsed[kobjects.ClusterNetworkPolicy](t, passAll)}})
	p.namespaces.Replace(kobjects.Listing[kobjects.Namespace]{Objects: []*kobjects.Namespace{parsed[kobjects.Namespace](t, `{"metadata":{"name":"shop","labels":{"team":"a"}}}`)}})
	p.published.replaceServices([]*kobjects.Service{parsed[kobjects.Service](t, frontService)})
	p.published.replaceSlices([]*kobjects.EndpointSlice{parsed[kobjects.EndpointSlice](t, apiSlice), parsed[kobjects.EndpointSlice](t, webSlice)})
	kick(p.news)
}

// What is told of a cluster, and that a host without an API server begins with what it knew last.
func TestFollowPolicies(t *testing.T) {
	dir := t.TempDir()
	s := source(t, dir)
	listPolicies(t, s)
	next := heardPolicies(t, s)
	first := next()
	w, b := first.Policies(&objects.PolicyMemo{}, &policy.World{}, policy.Believed{Exact: map[netip.Addr]identity.Number{}})
	if len(w.Policies) != 2 || w.Policies[0].Name != "NetworkPolicy shop/deny" || w.Policies[1].Name != "ClusterNetworkPolicy pass" {
		t.Errorf("policies: %+v", w.Policies)
	}
	if w.Namespaces["shop"]["team"] != "a" || len(w.Published) != 1 || w.Published[0].Name != "Service shop/front" {
		t.Errorf("namespaces %v, published %v", w.Namespaces, w.Published)
	}
	if n := b.Exact[netip.MustParseAddr("2001:db8:ffff::1")]; n != identity.Host {
		t.Errorf("the API server is %s", n)
	}
	gone := parsed[kobjects.NetworkPolicy](t, denyAll)
	s.policies.networkPolicies.Apply(kobjects.Change[kobjects.NetworkPolicy]{Object: gone, Gone: true})
	s.policies.published.service(parsed[kobjects.Service](t, frontService), true)
	kick(s.policies.news)
	if second := next(); len(second.NetworkPolicies) != 0 || len(second.Published) != 0 {
		t.Errorf("after both went: %+v", second)
	}

	if !s.keepPolicies(first) {
		t.Fatal("not kept")
	}
	restarted := source(t, dir)
	kept := heardPolicies(t, restarted)()
	if len(kept.NetworkPolicies) != 1 || len(kept.ClusterNetworkPolicies) != 1 || len(kept.APIServers) != 1 || kept.Namespaces["shop"]["team"] != "a" {
		t.Errorf("kept: %+v", kept)
	}
}

// Half a list is no list: until all are whole nothing is told, and what Services open is what it was.
func TestHalfAListOfPolicies(t *testing.T) {
	dir := t.TempDir()
	first := source(t, dir)
	listPolicies(t, first)
	if !first.keepPolicies(first.clusterPolicies(nil)) {
		t.Fatal("not kept")
	}
	s := source(t, dir)
	s.policies.networkPolicies.Replace(kobjects.Listing[kobjects.NetworkPolicy]{})
	s.policies.clusterPolicies.Replace(kobjects.Listing[kobjects.ClusterNetworkPolicy]{})
	if s.policies.listed() {
		t.Error("listed without namespaces")
	}
	s.policies.namespaces.Replace(kobjects.Listing[kobjects.Namespace]{})
	if now := s.clusterPolicies(s.keptPolicies()); len(now.NetworkPolicies) != 0 || len(now.Published) != 1 || len(now.APIServers) != 1 {
		t.Errorf("before Services were listed: %+v", now)
	}
}

// A port of the host opens the port of its pod.
func TestHostPorts(t *testing.T) {
	s := source(t, t.TempDir())
	pod := parsed[kobjects.Pod](t, `{"metadata":{"namespace":"shop","name":"p","labels":{"app":"web"}},"spec":{"containers":[{"ports":[{"containerPort":80,"hostPort":8080},{"containerPort":81}]}],
		"initContainers":[{"ports":[{"containerPort":90,"hostPort":90}]},{"restartPolicy":"Always","ports":[{"containerPort":91,"hostPort":91,"protocol":"UDP"}]}]}}`)
	ended := parsed[kobjects.Pod](t, `{"metadata":{"namespace":"shop","name":"q"},"spec":{"containers":[{"ports":[{"containerPort":80,"hostPort":8080}]}]},"status":{"phase":"Succeeded"}}`)
	s.pods.Replace(kobjects.Listing[kobjects.Pod]{Objects: []*kobjects.Pod{pod, ended}})
	open := hostPorts(s.ownPods())
	want := []policy.Port{{Protocol: transport.TCP, First: 80, Last: 80}, {Protocol: transport.UDP, First: 91, Last: 91}}
	if len(open) != 1 || cmp.Diff(want, open[0].Ports) != "" || !open[0].Subject.Endpoints.Matches(map[string]string{"app": "web"}) {
		t.Errorf("%+v", open)
	}
}
