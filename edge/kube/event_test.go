//go:build cluster

package kube

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/kubetest"
	kobjects "hexapod.dev/edge/kube/objects"
)

// rawPod is a pod as a user writes it.
type rawPod struct {
	v1alpha1.Header
	content map[string]any
}

func (p *rawPod) MarshalJSON() ([]byte, error) { return json.Marshal(p.content) }

// TestPodWithoutAddressIsTold: with no right but those of an agent, the owner of a pod that gets no address is told why, once.
func TestPodWithoutAddressIsTold(t *testing.T) {
	s := kubetest.Start(t)
	s.InstallKinds()
	s.Apply("kustomize/base/namespace.yaml")
	s.Apply("kustomize/base/agent-rbac.yaml")
	admin, ctx := s.Client(), t.Context()
	pods := kobjects.In(admin, kobjects.NewResource[rawPod]("v1", "Pod", "pods", true)).Namespace("default")
	uids := map[string]string{}
	for _, name := range []string{"web", "other"} {
		made, err := pods.Create(ctx, &rawPod{content: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"nodeName": "n", "containers": []any{map[string]any{"name": "c", "image": "none"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		uids[name] = made.Metadata.UID
	}
	source := New(Options{Client: s.ClientAs(s.Token("hexapod-system", "hexapod-agent", nil)), Host: "n", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- source.Run(running, func() v1alpha1.HostReport { return v1alpha1.HostReport{} }, func() {})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	events := kobjects.In(admin, kobjects.Events()).Namespace("default")
	_, version, err := events.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const why = "fixed address 2001:db8:1::7 is not claimed"
	for range 3 { // a runtime tries again and again
		source.Refused("default", "web", uids["web"], why)
	}
	source.Refused("default", "other", uids["other"], why) // after all of the first
	told, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	found := false
	_, err = events.Watch(told, version, func(c kobjects.Change[kobjects.Event]) {
		if c.Object.InvolvedObject.Name == "other" && c.Object.Reason == reasonNoAddress {
			found = true
			stop()
		}
	})
	if !found {
		t.Fatalf("no event after a minute: %v", err)
	}
	all, _, err := events.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(all, func(e *kobjects.Event) bool { return e.InvolvedObject.Name != "web" || e.Reason != reasonNoAddress })
	if len(got) != 1 {
		t.Fatalf("%d events about one pod, want one: %v", len(got), got)
	}
	if e := got[0]; e.Type != "Warning" || e.Message != why || e.InvolvedObject.UID != uids["web"] || e.Source.Host != "n" {
		t.Errorf("event %+v", e)
	}
}
