//go:build cluster

package controller

import (
	"fmt"
	"strings"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// manyJobs and newNumbers: so many Jobs, each with a name of its own, cost at most so many numbers.
const (
	manyJobs   = 20_000
	newNumbers = 10
)

// TestJobsOfManyNames: what Kubernetes writes on the pods of a Job is its name and its UID, and neither makes an identity.
func TestJobsOfManyNames(t *testing.T) {
	jobs := manyJobs
	if testing.Short() {
		jobs /= 20
	}
	k := newCluster(t, labPlan())
	c, _ := k.start(Options{})
	kind := objects.NewResource[rawObject]("batch/v1", "Job", "jobs", true)
	many(t, jobs, func(i int) error {
		name := fmt.Sprint("nightly-", i)
		template := map[string]any{"metadata": map[string]any{"labels": map[string]string{"app": fmt.Sprint("report", i%3)}},
			"spec": map[string]any{"restartPolicy": "Never", "containers": []any{map[string]any{"name": "c", "image": "none"}}}}
		job := map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"namespace": "default", "name": name}, "spec": map[string]any{"template": template}}
		made, err := objects.In(k.c, kind).Namespace("default").Create(t.Context(), &rawObject{Content: job})
		if err != nil {
			return err
		}
		uid := made.Metadata.UID
		pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "default", "name": name + "-x", "labels": map[string]string{
			"app": fmt.Sprint("report", i%3), "job-name": name, "batch.kubernetes.io/job-name": name, "controller-uid": uid, "batch.kubernetes.io/controller-uid": uid,
			"batch.kubernetes.io/job-completion-index": fmt.Sprint(i % 7)}}, "spec": template["spec"]}
		_, err = objects.In(k.c, rawPods()).Namespace("default").Create(t.Context(), &rawObject{Content: pod})
		return err
	})
	k.eventually("the controller has seen every pod", func() bool { pods, _ := c.pods.count(); return pods == jobs })
	k.eventually("every set has a number", func() bool { _, sets := c.pods.count(); return k.setsWithNumbers() >= sets })
	if n := len(list(k, objects.Identities())); n == 0 || n > newNumbers {
		t.Errorf("%d Jobs took %d numbers, at most %d may be", jobs, n, newNumbers)
	}
}

// TestNamesOfPorts: the ports that pods of a set have names for are in its Identity, and go with the last pod that has them.
func TestNamesOfPorts(t *testing.T) {
	k := newCluster(t, labPlan())
	k.start(Options{})
	pod := func(name string, port int) {
		k.raw(rawPods(), "default", map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": "default", "name": name, "labels": map[string]string{"app": "web"}},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "none", "ports": []any{map[string]any{"name": "http", "containerPort": port}, map[string]any{"containerPort": 9}}}}}})
	}
	ports := func() string {
		var words []string
		for _, i := range list(k, objects.Identities()) {
			for _, p := range i.Spec.Ports {
				words = append(words, fmt.Sprintf("%s/%s/%d", p.Name, p.Protocol, p.Port))
			}
		}
		return strings.Join(words, " ")
	}
	pod("old", 80)
	k.eventually("the port of the first pod is told", func() bool { return ports() == "http/TCP/80" })
	pod("new", 8080)
	k.eventually("both are", func() bool { return ports() == "http/TCP/80 http/TCP/8080" })
	if err := objects.In(k.c, objects.Pods()).Namespace("default").Delete(t.Context(), "old", objects.Only{}); err != nil {
		t.Fatal(err)
	}
	k.eventually("the first one is gone", func() bool { return ports() == "http/TCP/8080" })
}

// TestPolicyThatIsNotHeld: the owner of a policy by a label that is no part of an identity is told so by an event.
func TestPolicyThatIsNotHeld(t *testing.T) {
	spec := labPlan()
	spec.Identity = v1alpha1.IdentityRules{ExcludeLabels: []string{"owner"}}
	k := newCluster(t, spec)
	k.start(Options{})
	policy := func(name, label string) {
		k.raw(objects.NewResource[rawObject](v1alpha1.NetworkPolicyVersion, "NetworkPolicy", "networkpolicies", true), "default", map[string]any{
			"apiVersion": v1alpha1.NetworkPolicyVersion, "kind": "NetworkPolicy", "metadata": map[string]any{"namespace": "default", "name": name},
			"spec": map[string]any{"podSelector": map[string]any{"matchLabels": map[string]string{label: "me"}},
				"ingress": []any{map[string]any{"from": []any{map[string]any{"podSelector": map[string]any{"matchLabels": map[string]string{label: "you"}}}}}}}})
	}
	policy("right", "app")
	policy("wrong", "owner")
	said := func() (about []string) {
		for _, e := range list(k, objects.Events()) {
			if e.Reason == string(NotHeld) {
				about = append(about, e.InvolvedObject.Name+": "+e.Message)
			}
		}
		return about
	}
	k.eventually("the owner is told", func() bool { return len(said()) > 0 })
	for _, line := range said() {
		if !strings.HasPrefix(line, "wrong: ") || !strings.Contains(line, "owner") {
			t.Errorf("told: %s", line)
		}
	}
}
