//go:build cluster

package objects_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	"hexapod.dev/edge/kube/objects"
)

// anything is any object, written as it is.
type anything struct {
	v1alpha1.Header
	content map[string]any
}

func (a *anything) MarshalJSON() ([]byte, error) { return json.Marshal(a.content) }

func put(t *testing.T, c *objects.Client, apiVersion, kind, plural, namespace string, content map[string]any) *anything {
	t.Helper()
	content["apiVersion"], content["kind"] = apiVersion, kind
	r := objects.NewResource[anything](apiVersion, kind, plural, namespace != "")
	got, err := objects.In(c, r).Namespace(namespace).Create(t.Context(), &anything{content: content})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func meta(name string) map[string]any { return map[string]any{"name": name} }

// agentOn makes a pod of the agent on a node and returns a client with the pod's token.
func agentOn(t *testing.T, s *kubetest.Server, node string) *objects.Client {
	t.Helper()
	const ns = "hexapod-system"
	put(t, s.Client(), "v1", "Node", "nodes", "", map[string]any{"metadata": meta(node)})
	pod := put(t, s.Client(), "v1", "Pod", "pods", ns, map[string]any{"metadata": meta("agent-" + node), "spec": map[string]any{
		"nodeName": node, "serviceAccountName": "hexapod-agent", "containers": []any{map[string]any{"name": "agent", "image": "none"}}}})
	return s.ClientAs(s.Token(ns, "hexapod-agent", &pod.Header))
}

// TestAgentsReportForThemselves: the token of an agent's pod is good for the HostStatus of its own node alone, whatever RBAC grants.
func TestAgentsReportForThemselves(t *testing.T) {
	s := kubetest.Start(t)
	s.InstallKinds()
	s.Apply("kustomize/base/namespace.yaml")
	s.Apply("kustomize/base/agent-rbac.yaml")
	s.Apply("policies/hoststatus.yaml")
	a, b := objects.In(agentOn(t, s, "a"), objects.HostStatuses()), objects.In(agentOn(t, s, "b"), objects.HostStatuses())

	// The API server takes up a new policy within a moment; until then a foreign name is taken.
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := b.Create(t.Context(), v1alpha1.NewHostStatus("probe", v1alpha1.HostReport{}))
		if errors.Is(err, objects.ErrDenied) {
			t.Log(err)
			break
		}
		if err == nil {
			err = objects.In(s.Client(), objects.HostStatuses()).Delete(t.Context(), "probe", objects.Only{})
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the policy is not in force: %v", err)
		}
	}
	own, err := a.Create(t.Context(), v1alpha1.NewHostStatus("a", v1alpha1.HostReport{Round: 1}))
	if err != nil {
		t.Fatalf("an agent's own: %v", err)
	}
	own.Status.Round = 2
	if _, err := b.Update(t.Context(), own); !errors.Is(err, objects.ErrDenied) {
		t.Errorf("another's changed: %v", err)
	}
	if err := b.Delete(t.Context(), "a", objects.Only{}); !errors.Is(err, objects.ErrDenied) {
		t.Errorf("another's removed: %v", err)
	}
	if _, err := a.Update(t.Context(), own); err != nil {
		t.Errorf("an agent's own, changed: %v", err)
	}
}
