//go:build cluster

package controller

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"hexapod.dev/edge/kube/objects"
)

// someJobs is how many Jobs the test below makes; HEXAPOD_JOBS says another number.
const someJobs = 200

// TestJobsTakeNoNumbers: Jobs of unique names, made of five templates, each with a pod that has the labels that the Job controller writes,
// take a number for each template and none for themselves.
func TestJobsTakeNoNumbers(t *testing.T) {
	jobs := someJobs
	if v := os.Getenv("HEXAPOD_JOBS"); v != "" {
		var err error
		if jobs, err = strconv.Atoi(v); err != nil || jobs < 1 {
			t.Fatalf("HEXAPOD_JOBS=%q: want a number of Jobs from 1", v)
		}
	}
	k := newCluster(t, labPlan())
	c, _ := k.start(Options{})
	all := objects.In(k.c, objects.NewResource[rawObject]("batch/v1", "Job", "jobs", true)).Namespace("default")
	pods := objects.In(k.c, rawPods()).Namespace("default")
	many(t, jobs, func(i int) error {
		name, app := fmt.Sprint("job", i), fmt.Sprint("app", i%5)
		spec := map[string]any{"restartPolicy": "Never", "containers": []any{map[string]any{"name": "c", "image": "none"}}}
		made, err := all.Create(t.Context(), &rawObject{Content: map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]string{"app": app}}, "spec": spec}}}})
		if err != nil {
			return err
		}
		labels := map[string]string{"app": app, "job-name": name, "batch.kubernetes.io/job-name": name,
			"controller-uid": made.Metadata.UID, "batch.kubernetes.io/controller-uid": made.Metadata.UID}
		_, err = pods.Create(t.Context(), &rawObject{Content: map[string]any{"apiVersion": "v1", "kind": "Pod",
			"metadata": map[string]any{"namespace": "default", "name": name, "labels": labels}, "spec": spec}})
		return err
	})
	k.eventually("all pods are known", func() bool { n, _ := c.pods.count(); return n == jobs })
	k.eventually("the templates have numbers", func() bool { return k.setsWithNumbers() == min(jobs, 5) })
	if n := len(list(k, objects.Identities())); n != min(jobs, 5) {
		t.Errorf("%d Jobs of five templates took %d numbers", jobs, n)
	}
}
