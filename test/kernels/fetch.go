package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kernel is one that was unpacked.
type kernel struct {
	release string // as uname -r says it
	image   string
	modules string // folder
}

var imagePackage = regexp.MustCompile(`Depends: (linux-image-\S+)`)

// fetch downloads and unpacks a kernel package, or that which it depends on, unless it is there already.
func fetch(ctx context.Context, cache, name string) (kernel, error) {
	out, err := output(ctx, "", "apt-cache", "depends", "--important", name)
	if err != nil {
		return kernel{}, err
	}
	if m := imagePackage.FindStringSubmatch(out); m != nil {
		name = m[1]
	}
	at := filepath.Join(cache, name)
	if _, err := os.Stat(at); err != nil {
		fmt.Printf("kernels: downloading %s\n", name)
		if err := unpack(ctx, cache, name, at); err != nil {
			return kernel{}, err
		}
	}
	return find(at)
}

// unpack makes the folder at in one step, so that one that is there is whole.
func unpack(ctx context.Context, cache, name, at string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	beside, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(beside)
	if _, err := output(ctx, beside, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(beside, "*.deb"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("apt-get download %s left %d archives", name, len(archives))
	}
	root := filepath.Join(beside, "root")
	if _, err := output(ctx, beside, "dpkg-deb", "-x", archives[0], root); err != nil {
		return err
	}
	return os.Rename(root, at)
}

func find(at string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(at, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel{}, fmt.Errorf("%d kernels in %s, want one: remove the folder to have it downloaded again", len(images), at)
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	k := kernel{release: release, image: images[0]}
	for _, lib := range []string{"lib", "usr/lib"} {
		if dir := filepath.Join(at, lib, "modules", release); exists(dir) {
			k.modules = dir
		}
	}
	if k.modules == "" {
		return k, fmt.Errorf("no modules of %s in %s", release, at)
	}
	return k, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// output runs a program in a folder and returns what it wrote.
func output(ctx context.Context, dir string, words ...string) (string, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, out)
	}
	return string(out), nil
}

// goBuild runs go with words for a static program of this machine's kind.
func goBuild(ctx context.Context, words ...string) error {
	cmd := exec.CommandContext(ctx, "go", words...)
	cmd.Env = append(slices.Clone(os.Environ()), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(words, " "), err, out)
	}
	return nil
}
