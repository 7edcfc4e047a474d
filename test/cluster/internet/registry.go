package internet

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Media types of the OCI image format.
const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
	typeBlob     = "application/octet-stream"
)

// registry holds images in memory and gives them out (OCI distribution specification, "pull"). Its keys are what follows /v2/.
type registry map[string]thing

// thing is a manifest or a blob.
type thing struct {
	media string
	body  []byte
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// descriptor is how a manifest names a blob.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

// add takes an image out of a file that docker save could have written, under a name with a tag.
func (r registry) add(name, file string) error {
	name, tag, ok := strings.Cut(name, ":")
	if !ok {
		return errors.New("the name has no tag")
	}
	files, err := unpack(file)
	if err != nil {
		return err
	}
	var list []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &list); err != nil || len(list) != 1 {
		return fmt.Errorf("manifest.json of %s lists %d images, want one: %w", file, len(list), err)
	}
	blob := func(media, part string) descriptor {
		body := files[part]
		d := descriptor{media, digest(body), len(body)}
		r[name+"/blobs/"+d.Digest] = thing{typeBlob, body}
		return d
	}
	var layers []descriptor
	for _, l := range list[0].Layers {
		layers = append(layers, blob(typeLayer, l))
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": blob(typeConfig, list[0].Config), "layers": layers,
	})
	if err != nil {
		return err
	}
	for _, reference := range []string{tag, digest(manifest)} {
		r[name+"/manifests/"+reference] = thing{typeManifest, manifest}
	}
	return nil
}

// unpack reads the files of a tar.
func unpack(file string) (map[string][]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files := map[string][]byte{}
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err == nil {
			files[h.Name], err = io.ReadAll(t)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
}

// ServeHTTP implements http.Handler.
func (r registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	path, ok := strings.CutPrefix(q.URL.Path, "/v2/")
	switch x, found := r[path]; {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case ok && path == "":
		w.WriteHeader(http.StatusOK)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", x.media)
		w.Header().Set("Docker-Content-Digest", digest(x.body))
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(x.body))
	}
}
