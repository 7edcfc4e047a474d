package build

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// entry writes one or more files to a layer.
type entry func(*tar.Writer) error

// layer is one layer of an image, written in order.
type layer []entry

// config is what an image says about the processes made from it (OCI image configuration, "config").
type config struct {
	Entrypoint []string `json:",omitempty"`
	Cmd        []string `json:",omitempty"`
	User       string   `json:",omitempty"`
	Env        []string `json:",omitempty"`
}

func folder(name string, mode int64) entry {
	return func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
	}
}

func link(name, to string) entry {
	return func(w *tar.Writer) error {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777})
	}
}

func text(name, body string) entry {
	return func(w *tar.Writer) error {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(body)), Mode: 0o644})
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		return err
	}
}

func executable(name, from string) entry { return copied(name, from, 0o755) }
func plain(name, from string) entry      { return copied(name, from, 0o644) }

// copied is a file of the machine. Times are left out, so that the same files make the same image.
func copied(name, from string, mode int64) entry {
	return func(w *tar.Writer) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: mode})
		}
		if err == nil {
			_, err = io.Copy(w, f)
		}
		return err
	}
}

// archive is everything in a tar except what skip leaves out.
func archive(from string, skip func(name string) bool) entry {
	return func(w *tar.Writer) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		r := tar.NewReader(bufio.NewReaderSize(f, 1<<20))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", from, err)
			}
			if skip(clean(h.Name)) {
				continue
			}
			if err := w.WriteHeader(h); err != nil {
				return fmt.Errorf("copy %s: %w", h.Name, err)
			}
			if _, err := io.Copy(w, r); err != nil {
				return fmt.Errorf("copy %s: %w", h.Name, err)
			}
		}
	}
}

// writeArchive writes an image as `docker save` does: a list of images, each one's configuration, and the layers as tars.
func writeArchive(file string, names []string, c config, layers []layer) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(file), ".layers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	var diffs, files []string
	for i, l := range layers {
		name := fmt.Sprintf("layer%d.tar", i)
		sum, err := l.write(filepath.Join(work, name))
		if err != nil {
			return fmt.Errorf("write layer %d: %w", i, err)
		}
		diffs, files = append(diffs, "sha256:"+sum), append(files, name)
	}
	configuration, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": c,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": names, "Layers": files}})
	if err != nil {
		return err
	}
	all := layer{text("manifest.json", string(manifest)), text("config.json", string(configuration))}
	for _, f := range files {
		all = append(all, plain(f, filepath.Join(work, f)))
	}
	_, err = all.write(file)
	return err
}

// write writes the layer to a file and returns its checksum.
func (l layer) write(file string) (sum string, err error) {
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(f, hash), 1<<20)
	w := tar.NewWriter(buffered)
	for _, e := range l {
		if err := e(w); err != nil {
			return "", err
		}
	}
	if err := errors.Join(w.Close(), buffered.Flush()); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
