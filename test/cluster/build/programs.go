package build

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// program is one Go program out of a pinning module.
type program struct {
	module string
	pkg    string
	tags   string
	dir    string   // folder in the cache; empty: bin
	stamp  []string // variables that take the version, as import path and name
	of     string   // module whose version they take
	test   bool     // a test binary of the package
}

// kubeStamp are the variables by which Kubernetes knows its version: kubectl and the API server refuse to be v0.0.0.
var kubeStamp = []string{"k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"}

func kube(pkg string) program {
	return program{module: "kube", pkg: "k8s.io/kubernetes/" + pkg, stamp: kubeStamp, of: "k8s.io/kubernetes"}
}

func containerd(cmd string) program {
	const mod = "github.com/containerd/containerd/v2"
	// Snapshotters that need libraries or kernels we do not have; a cluster uses overlayfs.
	return program{module: "containerd", pkg: mod + "/cmd/" + cmd, tags: "no_btrfs no_devmapper no_zfs no_aufs", stamp: []string{mod + "/version.Version"}, of: mod}
}

func cni(plugin string) program {
	return program{module: "cni", pkg: "github.com/containernetworking/plugins/plugins/" + plugin, dir: "cni"}
}

// programs in the order they are built: what shares most with the others first.
var programs = []program{
	kube("cmd/kubelet"), kube("cmd/kube-apiserver"), kube("cmd/kube-controller-manager"), kube("cmd/kube-scheduler"),
	kube("cmd/kube-proxy"), kube("cmd/kubectl"), kube("cmd/kubeadm"), kube("test/images/agnhost"), kube("test/images/regression-issue-74839"),
	{module: "kube", pkg: "k8s.io/kubernetes/test/e2e", stamp: kubeStamp[:1], of: "k8s.io/kubernetes", test: true},
	{module: "kube", pkg: "github.com/onsi/ginkgo/v2/ginkgo"},
	{module: "etcd", pkg: "go.etcd.io/etcd/server/v3", dir: "bin"},
	{module: "etcd", pkg: "go.etcd.io/etcd/etcdctl/v3"},
	{module: "etcd", pkg: "go.etcd.io/etcd/etcdutl/v3"},
	containerd("containerd"), containerd("containerd-shim-runc-v2"), containerd("ctr"),
	cni("main/ptp"), cni("main/bridge"), cni("main/loopback"), cni("main/host-device"), cni("ipam/host-local"), cni("meta/portmap"), cni("meta/bandwidth"),
	{module: "coredns", pkg: "hexapod.dev/test/cluster/coredns"},
}

// name is the file name of the program.
func (p program) name() string {
	switch {
	case p.test:
		return "e2e.test"
	case strings.HasSuffix(p.pkg, "/etcd/server/v3"):
		return "etcd"
	case strings.HasSuffix(p.pkg, "/v3"):
		return path.Base(path.Dir(p.pkg))
	}
	return path.Base(p.pkg)
}

func (p program) folder() string {
	if p.dir == "" {
		return "bin"
	}
	return p.dir
}

func (p program) build(ctx context.Context, c Cache, file string) error {
	flags := "-s -w"
	if p.of != "" {
		version, err := c.version(ctx, p.module, p.of)
		if err != nil {
			return err
		}
		for _, v := range p.stamp {
			flags += fmt.Sprintf(" -X %s=%s", v, version)
		}
		if p.module == "kube" {
			flags += kubeNumbers(p.stamp, version)
		}
	}
	words := []string{"go", "build"}
	if p.test {
		words = []string{"go", "test", "-c", "-vet=off"}
	}
	words = append(words, "-trimpath", "-buildvcs=false", "-tags", p.tags, "-ldflags", flags, "-o", file, p.pkg)
	_, err := c.run(ctx, p.module, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off"}, words...)
	return err
}

// kubeNumbers stamps the version's two numbers, which clients compare.
func kubeNumbers(stamp []string, version string) string {
	flags := ""
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	for _, v := range stamp {
		pkg := strings.TrimSuffix(v, ".gitVersion")
		flags += fmt.Sprintf(" -X %[1]s.gitMajor=%[2]s -X %[1]s.gitMinor=%[3]s -X %[1]s.gitTreeState=clean", pkg, numbers[0], numbers[1])
	}
	return flags
}

// version is the pinned version of a module.
func (c Cache) version(ctx context.Context, module, of string) (string, error) {
	out, err := c.run(ctx, module, nil, "go", "list", "-m", "-f", "{{.Version}}", of)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(out), nil
}

// KubeVersion is the pinned version of Kubernetes.
func (c Cache) KubeVersion(ctx context.Context) (string, error) {
	return c.version(ctx, "kube", "k8s.io/kubernetes")
}

// Helm builds the program that installs charts, if it is not there, and returns its path. A cluster runs without it, so it is no part of
// Build.
func (c Cache) Helm(ctx context.Context) (string, error) {
	const module, of = "helm", "helm.sh/helm/v3"
	version, err := c.version(ctx, module, of)
	if err != nil {
		return "", err
	}
	file := filepath.Join(c.Root, "helm-"+version)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	err = step{"helm", file, program{module: module, pkg: of + "/cmd/helm"}.build}.run(ctx, c)
	if err != nil {
		return "", fmt.Errorf("build helm: %w", err)
	}
	return file, nil
}
