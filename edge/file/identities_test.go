package file

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

func web(n int) identity.Set {
	return identity.Set{Namespace: "shop", Labels: map[string]string{"app": fmt.Sprintf("web-%d", n)}}
}

func TestAddIdentity(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML})
	set := web(1)
	set.Labels["pod-template-hash"] = "5d4f"
	o, added, err := AddIdentity(dir, set)
	if err != nil || !added || o.Spec.Number != v1alpha1.MinIdentity {
		t.Fatalf("first: %v, %v, %v", o, added, err)
	}
	if o, added, err = AddIdentity(dir, web(1)); err != nil || added || o.Spec.Number != v1alpha1.MinIdentity {
		t.Errorf("the same set again: %v, %v, %v", o, added, err)
	}
	if o, added, err = AddIdentity(dir, identity.Set{}); err != nil || !added || o.Spec.Number != v1alpha1.MinIdentity+1 {
		t.Errorf("no namespace, no labels: %v, %v, %v", o, added, err)
	}
	const want = identitiesHeader + `apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata:
  name: id-256
spec:
  number: 256
  namespace: shop
  labels:
    app: web-1
  keyVersion: 1
---
apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata:
  name: id-257
spec:
  number: 257
  keyVersion: 1
`
	got, err := os.ReadFile(filepath.Join(dir, IdentitiesFile))
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

// TestAddIdentityKeepsWhatPeopleWrote, and never gives a retired number again.
func TestAddIdentityKeepsWhatPeopleWrote(t *testing.T) {
	dir := t.TempDir()
	old := "# our numbers\n" + `apiVersion: hexapod.dev/v1alpha1
kind: Identity
metadata: {name: id-300} # the shop
spec: {number: 300, namespace: shop, labels: {app: web-1}, retired: 2026-01-02T03:04:05Z}`
	write(t, dir, map[string]string{"plan.yaml": planYAML, IdentitiesFile: old})
	must(t, os.Chmod(filepath.Join(dir, IdentitiesFile), 0o640))
	o, _, err := AddIdentity(dir, web(1))
	if err != nil || o.Spec.Number != 301 {
		t.Fatalf("%v, %v", o, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, IdentitiesFile))
	if err != nil || !strings.HasPrefix(string(got), old+"\n---\napiVersion") {
		t.Errorf("%v\n%s", err, got)
	}
	if info, err := os.Stat(filepath.Join(dir, IdentitiesFile)); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestAddIdentityRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := AddIdentity(filepath.Join(dir, "gone"), web(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if _, _, err := AddIdentity(dir, web(1)); err == nil {
		t.Error("a folder without plan is written to")
	}
	write(t, dir, map[string]string{"plan.yaml": planYAML})
	if _, _, err := AddIdentity(dir, identity.Set{Namespace: "Not One"}); err == nil || !strings.Contains(err.Error(), "is not a namespace") {
		t.Errorf("bad namespace: %v", err)
	}
	write(t, dir, map[string]string{"elsewhere": ""})
	must(t, os.Symlink("elsewhere", filepath.Join(dir, IdentitiesFile)))
	if _, _, err := AddIdentity(dir, web(1)); err == nil || !strings.Contains(err.Error(), "identities.yaml: it is a link") {
		t.Errorf("a link is replaced: %v", err)
	}
}

const (
	writers = 6
	each    = 8
)

// TestTwoWritersNeverTakeOneNumber: several processes with several goroutines each.
func TestTwoWritersNeverTakeOneNumber(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for process := range 2 {
		all.Go(func() {
			c := exec.Command(self, "-test.run=^TestWriterProcess$")
			c.Env = append(os.Environ(), "IDENTITY_WRITER="+dir, fmt.Sprintf("IDENTITY_FIRST=%d", process*1000))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("writer %d: %v\n%s", process, err, out)
			}
		})
	}
	all.Wait()
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Objects.Identities); n != 2*writers*each {
		t.Errorf("%d identities, want %d", n, 2*writers*each)
	}
}

// TestWriterProcess is the body of the processes of the test above; alone it has nothing to do.
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv("IDENTITY_WRITER")
	var first int
	fmt.Sscan(os.Getenv("IDENTITY_FIRST"), &first)
	if dir == "" {
		return
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if _, added, err := AddIdentity(dir, web(first+w*each+i)); err != nil || !added {
					t.Errorf("%v, %v", added, err)
				}
			}
		})
	}
	all.Wait()
}
