package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// policyAPI is the folder of test/cluster that pins network-policy-api. What it builds is kept apart: nodes do not need it.
const policyAPI = "policyapi"

// PolicyAPI builds, unless it is there, the program that runs network-policy-api's conformance tests, and returns its file and that of the
// definition of the kind it tests.
func (c Cache) PolicyAPI(ctx context.Context, report func(string)) (program, definition string, err error) {
	sum := sha256.New()
	fmt.Fprintln(sum, recipe, runtime.Version(), runtime.GOARCH)
	for _, file := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(c.module(policyAPI), file))
		if err != nil {
			return "", "", fmt.Errorf("read what pins network-policy-api: %w", err)
		}
		sum.Write(text)
	}
	apart := c
	apart.Dir = filepath.Join(c.Root, policyAPI+"-"+hex.EncodeToString(sum.Sum(nil))[:16])
	program = filepath.Join(apart.Dir, policyAPI)
	if _, err := os.Stat(program); err != nil {
		report("building network-policy-api's conformance tests")
		s := step{policyAPI, program, func(ctx context.Context, c Cache, file string) error {
			_, err := c.run(ctx, policyAPI, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off"}, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", file, ".")
			return err
		}}
		if err := s.run(ctx, apart); err != nil {
			return "", "", fmt.Errorf("build %s: %w", s.what, err)
		}
	}
	dir, err := c.run(ctx, policyAPI, []string{"GOFLAGS=-mod=readonly", "GOWORK=off"}, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/network-policy-api")
	return program, filepath.Join(strings.TrimSpace(dir), "config", "crd", "experimental", "policy.networking.k8s.io_clusternetworkpolicies.yaml"), err
}
