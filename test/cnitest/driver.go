// Package cnitest drives CNI plugins as a container runtime does: through libcni, with a conflist, real executions and a result cache.
package cnitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
)

// Driver holds one network and runs its plugins.
type Driver struct {
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

// Endpoint is one attachment, as a runtime names it.
type Endpoint struct {
	Container    string
	Interface    string
	NetNS        string         // path
	Args         [][2]string    // CNI_ARGS
	Capabilities map[string]any // runtimeConfig, as far as the conflist declares it
}

// New makes a driver for a conflist. Plugins are looked up in path; results are cached below cache, which must be of this driver alone.
func New(conflist []byte, cache string, path ...string) (*Driver, error) {
	list, err := libcni.NetworkConfFromBytes(conflist)
	if err != nil {
		return nil, fmt.Errorf("read conflist: %w", err)
	}
	// libcni makes this executor itself on first use, but not safely for several endpoints at a time.
	run := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}}
	return &Driver{libcni.NewCNIConfigWithCacheDir(path, cache, run), list}, nil
}

// FromFolder makes a driver from the first conflist in a folder, in the order of names, as runtimes choose it.
func FromFolder(folder, cache string, path ...string) (*Driver, error) {
	files, err := libcni.ConfFiles(folder, []string{".conflist"})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no *.conflist in %s", folder)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	return New(text, cache, path...)
}

// Conflist writes a network configuration list with the given plugins.
func Conflist(version, name string, plugins ...map[string]any) []byte {
	text, err := json.MarshalIndent(map[string]any{"cniVersion": version, "name": name, "plugins": plugins}, "", "  ")
	if err != nil {
		panic(err) // a test passed what is not JSON
	}
	return text
}

// Add runs the plugins with ADD and returns the result of the last one, in the version of the conflist.
func (d *Driver) Add(ctx context.Context, e Endpoint) (types.Result, error) {
	return d.cni.AddNetworkList(ctx, d.list, e.runtime())
}

// Del runs the plugins with DEL, last one first. libcni passes the cached result.
func (d *Driver) Del(ctx context.Context, e Endpoint) error {
	return d.cni.DelNetworkList(ctx, d.list, e.runtime())
}

// Check runs the plugins with CHECK. libcni passes the cached result.
func (d *Driver) Check(ctx context.Context, e Endpoint) error {
	return d.cni.CheckNetworkList(ctx, d.list, e.runtime())
}

// GC tells the plugins which endpoints are still there.
func (d *Driver) GC(ctx context.Context, living []Endpoint) error {
	valid := make([]types.GCAttachment, 0, len(living))
	for _, e := range living {
		valid = append(valid, types.GCAttachment{ContainerID: e.Container, IfName: e.Interface})
	}
	return d.cni.GCNetworkList(ctx, d.list, &libcni.GCArgs{ValidAttachments: valid})
}

// Status asks the plugins whether they can serve.
func (d *Driver) Status(ctx context.Context) error { return d.cni.GetStatusNetworkList(ctx, d.list) }

// Versions asks a plugin which versions of the specification it serves.
func (d *Driver) Versions(ctx context.Context, plugin string) ([]string, error) {
	info, err := d.cni.GetVersionInfo(ctx, plugin)
	if err != nil {
		return nil, err
	}
	return info.SupportedVersions(), nil
}

func (e Endpoint) runtime() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: e.Container, NetNS: e.NetNS, IfName: e.Interface, Args: e.Args, CapabilityArgs: e.Capabilities}
}

// CodeOf is the CNI error code of an error that came from a plugin, 0 if it carries none.
func CodeOf(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// Build compiles a package of this module into folder as it is shipped and returns the program's path.
func Build(ctx context.Context, pkg, folder string) (string, error) {
	program := filepath.Join(folder, filepath.Base(pkg))
	flags := "-s -w"
	if filepath.Base(pkg) == "hexapod-cni" && runtime.GOARCH == "amd64" {
		flags += " -E shortEntry"
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", flags, "-o", program, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}
