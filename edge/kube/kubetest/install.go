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
	Status v1alpha1.Status `json:"status"`
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

// InstallPolicies makes the admission policies of deploy/policies.
func (s *Server) InstallPolicies() {
	s.t.Helper()
	for _, d := range s.documents(filepath.Join(root(), "deploy", "policies", "hoststatus.yaml")) {
		plural := "validatingadmissionpolicies"
		if d.Kind == "ValidatingAdmissionPolicyBinding" {
			plural = "validatingadmissionpolicybindings"
		}
		kind := objects.NewResource[document](d.APIVersion, d.Kind, plural, false)
		if _, err := objects.In(s.Client(), kind).Create(s.t.Context(), d); err != nil {
			s.t.Fatal(err)
		}
	}
}

// await asks again until yes is true; a minute is for ever.
func (s *Server) await(what string, yes func(context.Context) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
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
