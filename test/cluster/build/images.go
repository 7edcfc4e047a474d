package build

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PauseImage and DNSImage are the words for images that a cluster itself names; Names tells how upstream calls the others.
const (
	PauseImage = "pause"
	DNSImage   = "localhost/coredns:dev"
	OurImage   = "localhost/hexapod:dev"
)

// image is one archive to import, under one or more names.
type image struct {
	name  string
	names []string // words of kube/images, or whole names
	entry []string
	cmd   []string
	user  string
	root  func(ctx context.Context, c Cache) ([]layer, error)
}

// images that every node gets, the small and needed first.
var images = []image{
	{name: "pause", names: []string{PauseImage}, entry: []string{"/pause"}, user: "65535:65535", root: pauseRoot},
	{name: "coredns", names: []string{DNSImage}, entry: []string{"/coredns"}, root: dnsRoot},
	{name: "busybox", names: []string{"busybox"}, cmd: []string{"sh"}, root: busyboxRoot},
	{name: "issue-74839", names: []string{"issue-74839"}, entry: []string{"/regression-issue-74839"}, root: issueRoot},
	// The DNS tests want dig and the like on glibc, the kube-proxy test conntrack: this root has all of it.
	{name: "agnhost", names: []string{"agnhost", "agnhost-prev", "dns-testing", "iptables"}, entry: []string{"/agnhost"}, cmd: []string{"pause"}, root: agnhostRoot},
}

// Names maps the words of kube/images to upstream's names, which are read from its own list and not written in this tree.
func (c Cache) Names(ctx context.Context) (map[string]string, error) {
	file := filepath.Join(c.Dir, "images", "names.json")
	text, err := os.ReadFile(file)
	if err != nil {
		out, err := c.run(ctx, "kube", []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false -trimpath"}, "go", "run", "./images")
		if err != nil {
			return nil, err
		}
		text = []byte(out)
		if err := os.WriteFile(file+".new", text, 0o644); err != nil {
			return nil, err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return nil, err
		}
	}
	names := map[string]string{}
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, fmt.Errorf("read the names of upstream's images: %w", err)
	}
	return names, nil
}

func (i image) build(ctx context.Context, c Cache, file string) error {
	known, err := c.Names(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, n := range i.names {
		if !strings.Contains(n, "/") {
			if n = known[n]; n == "" {
				return fmt.Errorf("upstream has no image for %q any more: see test/cluster/kube/images", i.name)
			}
		}
		names = append(names, n)
	}
	layers, err := i.root(ctx, c)
	if err != nil {
		return err
	}
	return writeArchive(file, names, config{Entrypoint: i.entry, Cmd: i.cmd, User: i.user, Env: []string{searchPath}}, layers)
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Ours writes the image of Hexapod: its two programs, and nft with the libraries it is linked with, on an otherwise empty root.
func Ours(ctx context.Context, programs, file string) error {
	l := layer{
		folder("tmp", 0o1777), text("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n"), text("etc/group", "root:x:0:\n"),
		executable("usr/bin/hexapod", filepath.Join(programs, "hexapod")),
		executable("usr/bin/hexapod-cni", filepath.Join(programs, "hexapod-cni")),
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return fmt.Errorf("find nft, which the agent calls (Debian package nftables): %w", err)
	}
	libraries, err := linkedWith(ctx, nft)
	if err != nil {
		return err
	}
	l = append(l, executable("usr/sbin/nft", nft))
	for _, lib := range libraries {
		l = append(l, executable(strings.TrimPrefix(lib, "/"), lib))
	}
	return writeArchive(file, []string{OurImage}, config{Entrypoint: []string{"/usr/bin/hexapod"}, Env: []string{searchPath}}, []layer{l})
}

// linkedWith lists the shared libraries of a program and its loader, by their paths (ldd(1)).
func linkedWith(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("list the libraries of %s: %w", program, err)
	}
	var paths []string
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			paths = append(paths, word)
		}
	}
	return paths, nil
}

func pauseRoot(ctx context.Context, c Cache) ([]layer, error) {
	file := filepath.Join(c.Dir, "images", "pause")
	_, err := c.run(ctx, "cmd/pause", []string{"CGO_ENABLED=0", "GOWORK=off"}, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", file, ".")
	return []layer{{executable("pause", file)}}, err
}

func dnsRoot(_ context.Context, c Cache) ([]layer, error) {
	return []layer{{executable("coredns", filepath.Join(c.Bin(), "coredns"))}}, nil
}

func issueRoot(_ context.Context, c Cache) ([]layer, error) {
	const name = "regression-issue-74839"
	return []layer{{executable(name, filepath.Join(c.Bin(), name))}}, nil
}

// users that upstream's tests expect in an image beside root.
const (
	busyboxUsers = "root:x:0:0:root:/root:/bin/sh\n"
	testUsers    = "user-defined-in-image:x:1000:1000::/home/u:/bin/sh\n"
	testGroups   = "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"
)

func busyboxRoot(ctx context.Context, c Cache) ([]layer, error) {
	applets, err := busyboxApplets(ctx, c)
	if err != nil {
		return nil, err
	}
	l := layer{
		folder("tmp", 0o1777), folder("etc", 0o755), folder("root", 0o700), folder("home", 0o755), folder("bin", 0o755), folder("usr", 0o755), folder("var", 0o755),
		text("etc/passwd", busyboxUsers), text("etc/group", "root:x:0:\n"), executable("bin/busybox", busybox),
		link("usr/bin", "../bin"), link("sbin", "bin"),
	}
	for _, a := range applets {
		l = append(l, link("bin/"+a, "busybox"))
	}
	return []layer{l}, nil
}

// agnhostRoot is Debian with upstream's program, the DNS server that some tests start from it, and busybox under every name that
// Debian's root lacks: upstream's own root is Alpine, and its tests call what is there.
func agnhostRoot(ctx context.Context, c Cache) ([]layer, error) {
	applets, err := busyboxApplets(ctx, c)
	if err != nil {
		return nil, err
	}
	base, err := readRoot(c.base())
	if err != nil {
		return nil, err
	}
	source, err := c.run(ctx, "kube", nil, "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	porter := filepath.Join(strings.TrimSpace(source), "test", "images", "agnhost", "porter")
	top := layer{
		folder("uploads", 0o755), executable("agnhost", filepath.Join(c.Bin(), "agnhost")), link("agnhost-2", "agnhost"),
		plain("localhost.crt", filepath.Join(porter, "localhost.crt")), plain("localhost.key", filepath.Join(porter, "localhost.key")),
		text("etc/passwd", base.text["usr/share/base-passwd/passwd.master"]+testUsers),
		text("etc/group", base.text["usr/share/base-passwd/group.master"]+testGroups),
		executable("usr/bin/busybox", busybox), link("usr/local/bin/iperf", "/usr/bin/iperf"),
	}
	// Debian sets these names up when a package is configured, which an extracted root never was.
	for name, to := range map[string]string{"sh": "dash", "nc": "nc.openbsd", "awk": "gawk"} {
		if base.has(to) && !base.has(name) {
			top = append(top, link("usr/bin/"+name, base.programs[to]))
			base.programs[name] = "/usr/bin/" + name
		}
	}
	for _, a := range applets {
		if !base.has(a) {
			top = append(top, link("usr/bin/"+a, "busybox"))
		}
	}
	dns, err := dnsRoot(ctx, c)
	return append([]layer{{archive(c.base(), base.skip)}, top}, dns...), err
}
