package kubetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/kube/objects"
)

// document is any object, for what is only passed on.
type document struct {
	v1alpha1.Header
	raw    json.RawMessage
	Status struct {
		v1alpha1.Status
		Token string `json:"token"` // of a TokenRequest
	} `json:"status"`
}

// MarshalJSON writes the document as it was read.
func (d *document) MarshalJSON() ([]byte, error) { return d.raw, nil }

// InstallKinds makes the CustomResourceDefinitions of deploy/crds and waits until they are served.
func (s *Server) InstallKinds() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(root(), "deploy", "crds", "hexapod.dev_*.yaml"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no CustomResourceDefinitions in deploy/crds: run make generate (%v)", err)
	}
	crds := objects.NewResource[document]("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false)
	for _, name := range files {
		for _, d := range s.documents(name) {
			if _, err := objects.In(s.Client(), crds).Create(s.t.Context(), d); err != nil {
				s.t.Fatalf("%s: %v", name, err)
			}
		}
	}
	s.await("the kinds of deploy/crds", func(ctx context.Context) bool {
		all, _, err := objects.In(s.Client(), crds).List(ctx)
		for _, d := range all {
			c, ok := d.Status.Condition("Established")
			if !ok || c.Status != v1alpha1.ConditionTrue {
				return false
			}
		}
		return err == nil && len(all) >= len(files)
	})
}

// plurals are the resources of the kinds in deploy that tests apply, and whether they lie in namespaces.
var plurals = map[string]struct {
	name       string
	namespaced bool
}{
	"Namespace": {"namespaces", false}, "ServiceAccount": {"serviceaccounts", true},
	"ClusterRole": {"clusterroles", false}, "ClusterRoleBinding": {"clusterrolebindings", false},
	"Role": {"roles", true}, "RoleBinding": {"rolebindings", true},
	"ValidatingAdmissionPolicy":        {"validatingadmissionpolicies", false},
	"ValidatingAdmissionPolicyBinding": {"validatingadmissionpolicybindings", false},
}

// Apply makes the objects of a file below deploy.
func (s *Server) Apply(file string) {
	s.t.Helper()
	for _, d := range s.documents(filepath.Join(root(), "deploy", file)) {
		r, ok := plurals[d.Kind]
		if !ok {
			s.t.Fatalf("%s: kind %s is not known to kubetest", file, d.Kind)
		}
		kind := objects.NewResource[document](d.APIVersion, d.Kind, r.name, r.namespaced)
		if _, err := objects.In(s.Client(), kind).Create(s.t.Context(), d); err != nil {
			s.t.Fatalf("%s: %v", file, err)
		}
	}
}

// Token returns a token of a service account. pod binds it to a pod, by name and UID; nil binds it to nothing.
func (s *Server) Token(namespace, account string, pod *v1alpha1.Header) string {
	s.t.Helper()
	spec := map[string]any{"audiences": []any{"https://kubernetes.default.svc"}, "expirationSeconds": 3600}
	if pod != nil {
		spec["boundObjectRef"] = map[string]any{"apiVersion": "v1", "kind": "Pod", "name": pod.ObjectName(), "uid": pod.Metadata.UID}
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
	if err != nil {
		s.t.Fatal(err)
	}
	requests := objects.NewResource[document]("v1", "TokenRequest", "serviceaccounts/"+account+"/token", true)
	got, err := objects.In(s.Client(), requests).Namespace(namespace).Create(s.t.Context(), &document{raw: raw})
	if err != nil {
		s.t.Fatal(err)
	}
	return got.Status.Token
}

// await asks again until yes is true.
func (s *Server) await(what string, yes func(context.Context) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for !yes(ctx) {
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: not there after a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// documents reads the YAML documents of a file.
func (s *Server) documents(name string) (all []*document) {
	s.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		o := &document{}
		if err := json.Unmarshal(raw, o); err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		o.raw = raw
		all = append(all, o)
	}
}

// root is the folder of go.mod, above the package under test.
func root() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
