// Package build makes what a cluster is made of: the programs of Kubernetes and of its neighbours, and images, kept in a cache outside the tree.
//
// Versions are pinned by the modules beside this package (kube, etcd, containerd, cni, coredns). The cache has one folder for each
// set of versions, named by a checksum of their go.sum files; what is there is not built again, and a step that was cut off
// leaves nothing that looks finished.
package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// recipe is part of the key of the cache. It changes when the same versions are to be built in another way.
const recipe = "1"

// modules are the folders of test/cluster that pin versions.
var modules = []string{"kube", "etcd", "containerd", "cni", "coredns"}

// Cache is one set of built programs and images.
type Cache struct {
	Root string // of all caches and of the clusters' own folders
	Dir  string // of this set of versions
	Tree string // the source tree
}

// Root is where caches and clusters are kept: $HEXAPOD_CLUSTER_DIR, else hexapod-cluster in the user's cache folder.
func Root() (string, error) {
	root := os.Getenv("HEXAPOD_CLUSTER_DIR")
	if root == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder (HEXAPOD_CLUSTER_DIR names another): %w", err)
		}
		root = filepath.Join(cache, "hexapod-cluster")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	if strings.HasPrefix(root+"/", "/tmp/") || strings.HasPrefix(root+"/", "/run/") {
		return "", fmt.Errorf("cache folder %s: /tmp and /run of a node are its own, so the folder must be elsewhere: set HEXAPOD_CLUSTER_DIR", root)
	}
	return root, nil
}

// Open finds the cache for the versions pinned in the source tree at tree. It need not exist.
func Open(tree string) (Cache, error) {
	root, err := Root()
	if err != nil {
		return Cache{}, err
	}
	if tree, err = filepath.Abs(tree); err != nil {
		return Cache{}, fmt.Errorf("find the source tree: %w", err)
	}
	c := Cache{Root: root, Tree: tree}
	sum := sha256.New()
	fmt.Fprintln(sum, recipe, runtime.Version(), runtime.GOARCH)
	for _, m := range modules {
		for _, file := range []string{"go.mod", "go.sum"} {
			text, err := os.ReadFile(filepath.Join(c.module(m), file))
			if err != nil {
				return Cache{}, fmt.Errorf("read the pinned versions (run from the root of the source tree): %w", err)
			}
			sum.Write(text)
		}
	}
	c.Dir = filepath.Join(root, hex.EncodeToString(sum.Sum(nil))[:16])
	return c, nil
}

// module is a folder of test/cluster in the source tree.
func (c Cache) module(name string) string { return filepath.Join(c.Tree, "test", "cluster", name) }

// Bin is the folder of the programs.
func (c Cache) Bin() string { return filepath.Join(c.Dir, "bin") }

// CNI is the folder of the reference CNI plugins.
func (c Cache) CNI() string { return filepath.Join(c.Dir, "cni") }

// Images are the docker-archives of every image that a node needs beside ours, the small ones first.
func (c Cache) Images() []string {
	var files []string
	for _, i := range images {
		files = append(files, c.image(i.name))
	}
	return files
}

func (c Cache) image(name string) string { return filepath.Join(c.Dir, "images", name+".tar") }

// step is one thing to build: its file, and how.
type step struct {
	what string
	file string
	make func(ctx context.Context, c Cache, file string) error
}

// Build builds what is missing. It reports each step with its seconds when it is done.
func (c Cache) Build(ctx context.Context, report func(string)) error {
	for _, s := range c.steps() {
		if _, err := os.Stat(s.file); err == nil {
			continue
		}
		begin := time.Now()
		if err := s.run(ctx, c); err != nil {
			return fmt.Errorf("build %s: %w", s.what, err)
		}
		report(fmt.Sprintf("built %s in %.0f s", s.what, time.Since(begin).Seconds()))
	}
	return nil
}

func (s step) run(ctx context.Context, c Cache) error {
	if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
		return err
	}
	unfinished := s.file + ".new"
	if err := s.make(ctx, c, unfinished); err != nil {
		return errors.Join(err, remove(unfinished))
	}
	return os.Rename(unfinished, s.file)
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c Cache) steps() []step {
	var all []step
	for _, p := range programs {
		all = append(all, step{p.name(), filepath.Join(c.Dir, p.folder(), p.name()), p.build})
	}
	all = append(all, step{"Debian root", c.base(), debianRoot})
	for _, i := range images {
		all = append(all, step{"image " + i.name, c.image(i.name), i.build})
	}
	return all
}

// run executes a program in one of the pinning modules. What it said is in the error.
func (c Cache) run(ctx context.Context, module string, env []string, words ...string) (string, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = c.module(module)
	cmd.Env = append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s in %s: %w\n%s", strings.Join(words, " "), cmd.Dir, err, tail(said.String(), 30))
	}
	return out.String(), nil
}

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
