package internet

import (
	"archive/tar"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// saved is a file as docker save writes it.
func saved(t *testing.T, files map[string]string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(body)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// What a runtime asks for, it gets: the manifest by its tag, what that names by digest, and parts of it.
func TestRegistry(t *testing.T) {
	r := registry{}
	if err := r.add("clients/musl:1", saved(t, map[string]string{
		"manifest.json": `[{"Config":"config.json","RepoTags":["x"],"Layers":["layer0.tar"]}]`, "config.json": "{}", "layer0.tar": "a layer",
	})); err != nil {
		t.Fatal(err)
	}
	get := func(path, part string, status int) *httptest.ResponseRecorder {
		t.Helper()
		q := httptest.NewRequest(http.MethodGet, path, nil)
		if part != "" {
			q.Header.Set("Range", part)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, q)
		if w.Code != status {
			t.Fatalf("%s %s: %d, want %d", path, part, w.Code, status)
		}
		return w
	}
	get("/v2/", "", http.StatusOK)
	get("/v2/clients/musl/manifests/2", "", http.StatusNotFound)
	m := get("/v2/clients/musl/manifests/1", "", http.StatusOK)
	if m.Header().Get("Content-Type") != typeManifest {
		t.Errorf("headers %v", m.Header())
	}
	get("/v2/clients/musl/manifests/"+m.Header().Get("Docker-Content-Digest"), "", http.StatusOK)
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	if err := json.Unmarshal(m.Body.Bytes(), &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("%s: %v", m.Body, err)
	}
	if got := get("/v2/clients/musl/blobs/"+manifest.Layers[0].Digest, "", http.StatusOK).Body.String(); got != "a layer" {
		t.Errorf("layer %q", got)
	}
	if got := get("/v2/clients/musl/blobs/"+manifest.Config.Digest, "bytes=1-", http.StatusPartialContent).Body.String(); got != "}" {
		t.Errorf("end of the configuration %q", got)
	}
}

func TestRegistryRefusesWhatIsNoImage(t *testing.T) {
	for name, file := range map[string]string{
		"a":   saved(t, map[string]string{"manifest.json": "[{}]"}), // without a tag
		"a:1": saved(t, map[string]string{"manifest.json": "[]"}),
		"b:1": filepath.Join(t.TempDir(), "missing"),
	} {
		if err := (registry{}).add(name, file); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
