package build

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entries reads a tar into names and contents; links become "-> target".
func entries(t *testing.T, file string) (names []string, body map[string]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	body = map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, body
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		body[h.Name] = string(text)
		if h.Linkname != "" {
			body[h.Name] = "-> " + h.Linkname
		}
	}
}

func TestOurImage(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"hexapod", "hexapod-cni"} {
		if err := os.WriteFile(filepath.Join(dir, p), []byte("the program "+p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	one, two := filepath.Join(dir, "one.tar"), filepath.Join(dir, "two.tar")
	for _, file := range []string{one, two} {
		if err := Ours(t.Context(), dir, file); err != nil {
			t.Fatal(err)
		}
	}
	a, err1 := os.ReadFile(one)
	b, err2 := os.ReadFile(two)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the same programs make two different images")
	}
	names, body := entries(t, one)
	if diff := cmp.Diff([]string{"manifest.json", "config.json", "layer0.tar"}, names); diff != "" {
		t.Error(diff)
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal([]byte(body["manifest.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	if got := manifest[0].RepoTags; len(got) != 1 || got[0] != OurImage {
		t.Errorf("names %v, want %s", got, OurImage)
	}
	sum := sha256.Sum256([]byte(body["layer0.tar"]))
	if !strings.Contains(body["config.json"], "sha256:"+hex.EncodeToString(sum[:])) {
		t.Errorf("the configuration does not name its layer: %s", body["config.json"])
	}
	layer := filepath.Join(dir, "layer.tar")
	if err := os.WriteFile(layer, []byte(body["layer0.tar"]), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, inside := entries(t, layer); inside["usr/bin/hexapod-cni"] != "the program hexapod-cni" {
		t.Errorf("the layer has %v", inside)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".layers-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := Ours(t.Context(), filepath.Join(dir, "nowhere"), two); err == nil {
		t.Error("programs that are not there: no error")
	}
}

func TestReadRootAndLayerUponIt(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base.tar")
	l := layer{folder("./dev", 0o755), text("./dev/null", ""), text("./bin/nc.openbsd", "x"), text("./usr/share/base-passwd/passwd.master", "root:*:0:0\n")}
	if _, err := l.write(base); err != nil {
		t.Fatal(err)
	}
	r, err := readRoot(base)
	if err != nil {
		t.Fatal(err)
	}
	// A link to it has to lead to where it is: not every root has /bin and /usr/bin in one.
	if got := r.programs["nc.openbsd"]; got != "/bin/nc.openbsd" {
		t.Errorf("nc.openbsd is at %q", got)
	}
	if got := r.text["usr/share/base-passwd/passwd.master"]; got != "root:*:0:0\n" {
		t.Errorf("passwd.master says %q", got)
	}
	top := filepath.Join(dir, "top.tar")
	if _, err := (layer{archive(base, r.skip), link("usr/bin/nc", r.programs["nc.openbsd"])}).write(top); err != nil {
		t.Fatal(err)
	}
	names, body := entries(t, top)
	if diff := cmp.Diff([]string{"./dev/", "./bin/nc.openbsd", "./usr/share/base-passwd/passwd.master", "usr/bin/nc"}, names); diff != "" {
		t.Error(diff)
	}
	if body["usr/bin/nc"] != "-> /bin/nc.openbsd" {
		t.Errorf("nc is %q", body["usr/bin/nc"])
	}
}

func TestSuite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	for text, want := range map[string]string{
		"ID=debian\nVERSION_CODENAME=bookworm\n":   "bookworm",
		"ID=\"debian\"\nVERSION_CODENAME=trixie\n": "trixie",
		"ID=fedora\nVERSION_CODENAME=\"\"\n":       "",
		"":                                         "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := suite(file); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// The cache of other versions is another one, and so is that of another recipe.
func TestKeyFollowsThePinnedVersions(t *testing.T) {
	t.Setenv("HEXAPOD_CLUSTER_DIR", "/var/cache/test")
	tree := t.TempDir()
	for _, m := range modules {
		dir := filepath.Join(tree, "test", "cluster", m)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"go.mod", "go.sum"} {
			if err := os.WriteFile(filepath.Join(dir, f), []byte("one"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	one, err := Open(tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "test", "cluster", "etcd", "go.sum"), []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	two, err := Open(tree)
	if err != nil {
		t.Fatal(err)
	}
	if one.Dir == two.Dir || filepath.Dir(one.Dir) != "/var/cache/test" {
		t.Errorf("caches %s and %s", one.Dir, two.Dir)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "source tree") {
		t.Errorf("outside of the source tree: %v", err)
	}
	t.Setenv("HEXAPOD_CLUSTER_DIR", "/tmp/x")
	if _, err := Open(tree); err == nil {
		t.Error("a cache below /tmp, which nodes cannot see: no error")
	}
}

func TestAStepThatFailsLeavesNothingFinished(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bin", "thing")
	s := step{"thing", file, func(_ context.Context, _ Cache, f string) error {
		return errors.Join(os.WriteFile(f, []byte("half"), 0o644), errors.New("cut off"))
	}}
	if err := s.run(t.Context(), Cache{}); err == nil {
		t.Error("no error")
	}
	if left, _ := filepath.Glob(filepath.Dir(file) + "/*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestEveryProgramHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range programs {
		name := p.folder() + "/" + p.name()
		if seen[name] {
			t.Errorf("two programs are called %s", name)
		}
		seen[name] = true
	}
	for _, want := range []string{"bin/kubelet", "bin/etcd", "bin/etcdutl", "bin/e2e.test", "bin/ginkgo", "cni/ptp", "bin/containerd-shim-runc-v2", "bin/coredns"} {
		if !seen[want] {
			t.Errorf("no %s among %v", want, seen)
		}
	}
}
