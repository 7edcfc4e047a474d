package build

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// debianPackages are what upstream's tests call in its image: clients, servers and tools. Debian's wget, because busybox-static's
// `wget -T` crashes.
var debianPackages = []string{"base-files", "base-passwd", "bash", "coreutils", "dash", "libc-bin", "bind9-dnsutils", "curl", "netcat-openbsd", "iproute2", "iperf",
	"iputils-ping", "util-linux", "grep", "sed", "gawk", "hostname", "ca-certificates", "wget", "conntrack", "iptables", "procps"}

// busybox of the machine (package busybox-static).
const busybox = "/bin/busybox"

func (c Cache) base() string { return filepath.Join(c.Dir, "images", "debian.root") }

// debianRoot extracts packages of the machine's own Debian release, from the mirrors that the machine uses.
func debianRoot(ctx context.Context, c Cache, file string) error {
	suite, err := suite("/etc/os-release")
	if err != nil {
		return err
	}
	words := []string{"mmdebstrap", "--quiet", "--variant=extract", "--format=tar", "--include=" + strings.Join(debianPackages, ",")}
	for _, what := range []string{"doc", "man", "locale", "info"} {
		words = append(words, "--dpkgopt=path-exclude=/usr/share/"+what+"/*")
	}
	words = append(words, suite, file)
	for _, list := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"} {
		if info, err := os.Stat(list); err == nil && info.Size() > 0 {
			words = append(words, list)
			break
		}
	}
	_, err = c.run(ctx, ".", nil, words...)
	return err
}

// suite is the code name of the machine's Debian.
func suite(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("find the Debian release: %w", err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[k] = strings.Trim(v, `"`)
		}
	}
	if values["ID"] != "debian" || values["VERSION_CODENAME"] == "" {
		return "", fmt.Errorf("%s says ID=%s VERSION_CODENAME=%s: images are made of Debian packages, so this needs a Debian", file, values["ID"], values["VERSION_CODENAME"])
	}
	return values["VERSION_CODENAME"], nil
}

// busyboxApplets are the names that the machine's busybox answers to, without its own.
func busyboxApplets(ctx context.Context, c Cache) ([]string, error) {
	out, err := c.run(ctx, ".", nil, busybox, "--list")
	if err != nil {
		return nil, fmt.Errorf("busybox-static: %w", err)
	}
	var names []string
	for _, name := range strings.Fields(out) {
		if name != "busybox" {
			names = append(names, name)
		}
	}
	return names, nil
}

// root is what one has to know of an extracted root to put a layer upon it.
type root struct {
	programs map[string]string // where each is, by its name in any folder of programs
	text     map[string]string // contents of small files that were asked for
}

func (r root) has(name string) bool { return r.programs[name] != "" }

// skip leaves out what a runtime makes itself.
func (r root) skip(name string) bool { return strings.HasPrefix(name, "dev/") }

func readRoot(file string) (root, error) {
	r := root{programs: map[string]string{}, text: map[string]string{}}
	f, err := os.Open(file)
	if err != nil {
		return r, fmt.Errorf("read the Debian root: %w", err)
	}
	defer f.Close()
	t := tar.NewReader(bufio.NewReaderSize(f, 1<<20))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("read the Debian root: %w", err)
		}
		name := clean(h.Name)
		if dir := path.Base(path.Dir(name)); dir == "bin" || dir == "sbin" {
			r.programs[path.Base(name)] = "/" + name
		}
		if path.Dir(name) == "usr/share/base-passwd" && h.Typeflag == tar.TypeReg {
			body, err := io.ReadAll(t)
			if err != nil {
				return r, fmt.Errorf("read %s of the Debian root: %w", name, err)
			}
			r.text[name] = string(body)
		}
	}
}

// clean makes ./a/b of a tar a/b.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
