package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"

	"hexapod.dev/lab/place"
)

// pluginPatience bounds one call of the plugin, which itself waits some seconds for an agent that is being restarted.
const pluginPatience = 30 * time.Second

const (
	groupPlugin = "plugin"
	pluginName  = "hexapod-cni"
	ifName      = "eth0"
)

// AddEndpoint makes an endpoint as a container runtime does: a network namespace with lo up, then the plugin's ADD. Missing
// labels and namespace are chosen in turn from the workloads of the lab.
func (l *Lab) AddEndpoint(ctx context.Context, e Endpoint) (Endpoint, error) {
	if _, ok := l.state.Endpoints[e.Name]; ok {
		return e, fmt.Errorf("endpoint %s: exists already", e.Name)
	}
	l.state.Serial++
	e.Container = fmt.Sprintf("%s-%s-%d", l.name, e.Name, l.state.Serial)
	if e.Namespace == "" {
		k := kinds[(l.state.Serial-1)%len(kinds)]
		e.Namespace, e.Labels = k.namespace, maps.Clone(k.labels)
	}
	// Known before it is made: a crash in between must leave nothing that DEL does not reach.
	l.state.Endpoints[e.Name] = e
	if err := l.save(); err != nil {
		return e, err
	}
	if err := l.place(e.Host).NewNetNS(e.netns()); err != nil {
		return e, fmt.Errorf("endpoint %s: %w", e.Name, err)
	}
	addr, err := l.callAdd(ctx, e)
	if err != nil {
		// A runtime cleans up after an ADD that failed (CNI spec 1.1, "DEL").
		return e, errors.Join(fmt.Errorf("endpoint %s: ADD: %w", e.Name, err), l.DeleteEndpoint(ctx, e.Name))
	}
	e.Addr = addr
	l.state.Endpoints[e.Name] = e
	return e, l.save()
}

// DeleteEndpoint calls the plugin's DEL and removes the network namespace, as a container runtime does.
func (l *Lab) DeleteEndpoint(ctx context.Context, name string) error {
	e, err := l.Endpoint(name)
	if err != nil {
		return err
	}
	err = l.call(ctx, e, func(ctx context.Context, c *libcni.CNIConfig, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
		return c.DelNetworkList(ctx, list, rt)
	})
	if err != nil {
		return fmt.Errorf("endpoint %s: DEL: %w", name, err)
	}
	if err := l.place(e.Host).DeleteNetNS(e.netns()); err != nil {
		return fmt.Errorf("endpoint %s: %w", name, err)
	}
	delete(l.state.Endpoints, name)
	return l.save()
}

// Readd repeats the plugin's ADD of a living endpoint, as a runtime does that was restarted between call and answer.
func (l *Lab) Readd(ctx context.Context, name string) (netip.Addr, error) {
	e, err := l.Endpoint(name)
	if err != nil {
		return netip.Addr{}, err
	}
	return l.callAdd(ctx, e)
}

func (l *Lab) callAdd(ctx context.Context, e Endpoint) (addr netip.Addr, err error) {
	err = l.call(ctx, e, func(ctx context.Context, c *libcni.CNIConfig, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
		result, err := c.AddNetworkList(ctx, list, rt)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := result.PrintTo(&text); err != nil {
			return fmt.Errorf("print the plugin's answer: %w", err)
		}
		addr, err = answeredAddr(text.Bytes())
		return err
	})
	return addr, err
}

// answeredAddr reads the address out of a result of the plugin (CNI spec 1.1, "ADD success"). On a host that a script has given IPv4, an IPv4
// address may stand behind it.
func answeredAddr(result []byte) (netip.Addr, error) {
	var r struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return netip.Addr{}, fmt.Errorf("read the plugin's answer: %w", err)
	}
	if n := len(r.IPs); n == 0 || n > 2 || !r.IPs[0].Address.IsSingleIP() || !r.IPs[0].Address.Addr().Is6() || n == 2 && !r.IPs[1].Address.Addr().Is4() {
		return netip.Addr{}, fmt.Errorf("the plugin answered %v, want one IPv6 address /128", r.IPs)
	}
	return r.IPs[0].Address.Addr(), nil
}

type cniCall func(context.Context, *libcni.CNIConfig, *libcni.NetworkConfigList, *libcni.RuntimeConf) error

// call prepares the reference runtime library for one endpoint. Its cache is kept in the host's own /run.
func (l *Lab) call(ctx context.Context, e Endpoint, fn cniCall) error {
	ctx, cancel := context.WithTimeout(ctx, pluginPatience)
	defer cancel()
	list, err := conflist(e.Labels)
	if err != nil {
		return err
	}
	runner := &pluginRunner{place: l.place(e.Host), bin: l.state.Bin, environ: l.environ()}
	c := libcni.NewCNIConfigWithCacheDir([]string{l.state.Bin}, l.folder(e.Host, "run/cni"), runner)
	args := [][2]string{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", e.Namespace}, {"K8S_POD_NAME", e.Name}, {"K8S_POD_UID", e.Container},
	}
	if e.Fixed.IsValid() {
		args = append(args, [2]string{"IP", e.Fixed.String()})
	}
	return fn(ctx, c, list, &libcni.RuntimeConf{
		ContainerID: e.Container, NetNS: e.netns(), IfName: ifName,
		Args: args,
	})
}

func conflist(labels map[string]string) (*libcni.NetworkConfigList, error) {
	text, err := json.Marshal(map[string]any{
		"cniVersion": "1.1.0",
		"name":       "hexapod",
		"plugins": []any{map[string]any{
			"type": pluginName,
			"args": map[string]any{"cni": map[string]any{"labels": labels}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("write the plugin's configuration: %w", err)
	}
	list, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		return nil, fmt.Errorf("check the plugin's configuration: %w", err)
	}
	return list, nil
}

// pluginRunner executes plugins in the namespaces of a host; it is the invoke.Exec of the runtime library.
type pluginRunner struct {
	version.PluginDecoder
	place   place.Place
	bin     string
	environ []string
}

// FindInPath returns where a plugin is.
func (r *pluginRunner) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin runs a plugin with a configuration on standard input and returns what it printed. Of the environment that the
// library made only the CNI variables are kept: the rest is that of the lab's own process.
func (r *pluginRunner) ExecPlugin(ctx context.Context, path string, input []byte, environ []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = "/"
	cmd.Env = append([]string(nil), r.environ...)
	for _, kv := range environ {
		if strings.HasPrefix(kv, "CNI_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	var out, words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &words
	err := r.place.Run(cmd, groupPlugin, "")
	if err == nil {
		return out.Bytes(), nil
	}
	// CNI spec 1.1, "Error": a plugin that fails prints an object with code, msg and details.
	var said struct {
		Code    uint   `json:"code"`
		Msg     string `json:"msg"`
		Details string `json:"details"`
	}
	if json.Unmarshal(out.Bytes(), &said) == nil && said.Msg != "" {
		return nil, fmt.Errorf("%s answered error %d: %s; %s", filepath.Base(path), said.Code, said.Msg, said.Details)
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(path), err), asError(words.String()))
}

func asError(words string) error {
	if words = strings.TrimSpace(words); words == "" {
		return nil
	}
	return errors.New(words)
}

// checkPrograms looks whether the programs under test are where the lab was told.
func checkPrograms(bin string) error {
	for _, name := range []string{"hexapod", pluginName} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("program %s is missing beside this one (`make build` makes both): %w", name, err)
		}
	}
	// A machine of the lab has a /run of its own, in which this folder would not be.
	if strings.HasPrefix(bin+"/", "/run/") {
		return fmt.Errorf("programs are in %s: put them outside /run, which every machine of the lab has for itself", bin)
	}
	return nil
}
