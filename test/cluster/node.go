package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hexapod.dev/lab/place"
	"hexapod.dev/test/cluster/build"
	"hexapod.dev/test/cluster/internet"
)

// holdCall and superviseCall are the arguments with which the program calls Hold and Supervise.
var (
	holdCall      = []string{"hold"}
	superviseCall = "supervise"
)

// ownFolders of a node: everything that components keep by default, so that they need no other paths.
var ownFolders = []string{
	"etc/cni", "etc/kubernetes", "etc/hexapod", "opt/cni", "var/lib/kubelet", "var/lib/containerd", "var/lib/cni", "var/lib/etcd", "var/lib/hexapod",
	"var/log/pods", "var/log/containers", "tmp",
}

// hostSysctls belong to the whole machine. The kubelet insists on these values, so a node shows it files that hold them; the machine
// stays as it is.
var hostSysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// makeMachine makes the folders and namespaces of one machine.
func (c *Cluster) makeMachine(ctx context.Context, name string) error {
	spec := place.Spec{Run: c.folder(name, "run")}
	if err := os.MkdirAll(spec.Run, 0o755); err != nil {
		return fmt.Errorf("make the folders of %s: %w", name, err)
	}
	if p := c.place(name); p.Whole {
		var err error
		if spec.Binds, err = c.nodeFiles(name); err != nil {
			return fmt.Errorf("make the files of %s: %w", name, err)
		}
	}
	return c.place(name).Make(ctx, c.self(), holdCall, spec)
}

// Called runs what a cluster calls of the program that brought it up, and reports whether args ask for that. Such a program has to hand
// its arguments here first.
func Called(ctx context.Context, args []string) (handled bool, err error) {
	switch {
	case len(args) == len(holdCall) && args[0] == holdCall[0]:
		return true, place.Hold(ctx, os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == superviseCall:
		return true, Supervise(ctx, os.Stdin)
	case len(args) == 3 && args[0] == internetCall:
		return true, runPart(ctx, args[1], args[2])
	}
	return false, nil
}

// Self is the program of the cluster, by a path that its nodes see as well.
func (c *Cluster) Self() string { return c.self() }

// self is the program that machines are held by: a copy, because the original may be rebuilt, or lie in a folder that nodes have of their own.
func (c *Cluster) self() string { return filepath.Join(c.dir, "bin", "cluster") }

// nodeFiles writes what a node finds on its disk, and tells where it finds it.
func (c *Cluster) nodeFiles(node string) ([]place.Bind, error) {
	var binds []place.Bind
	for _, dir := range ownFolders {
		from := c.folder(node, dir)
		if err := os.MkdirAll(from, 0o755); err != nil {
			return nil, err
		}
		binds = append(binds, place.Bind{From: from, To: "/" + dir})
	}
	if err := os.Chmod(c.folder(node, "tmp"), 0o777|os.ModeSticky); err != nil {
		return nil, err
	}
	small := map[string]string{
		"etc/hostname":    node + "\n",
		"etc/machine-id":  machineID(c.Options.Name, node) + "\n",
		"etc/resolv.conf": resolvConf(c.nameServers()...),
		"etc/hosts":       fmt.Sprintf("::1 localhost\n%s %s\n", c.nodeIPs(node)[0], node),
	}
	for name, value := range hostSysctls {
		small["proc/sys/"+name] = value + "\n"
	}
	for name, text := range small {
		from := c.folder(node, name)
		if err := write(from, []byte(text)); err != nil {
			return nil, err
		}
		binds = append(binds, place.Bind{From: from, To: "/" + name})
	}
	return binds, nil
}

func write(file string, text []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, text, 0o644)
	}
	return err
}

// machineID is a node's own (machine-id(5): 32 hex digits), the same every time.
func machineID(name, node string) string {
	id := fmt.Sprintf("%x", name+"/"+node)
	return strings.Repeat("0", max(0, 32-len(id))) + id[max(0, len(id)-32):]
}

// configure writes the configuration of a node's components.
func (c *Cluster) configure(node, pause string) error {
	copies := map[string]string{"ca.crt": "ca.crt", "kubelet-" + node + ".conf": "kubelet.conf", "kube-proxy.conf": "kube-proxy.conf"}
	for from, to := range copies {
		text, err := os.ReadFile(c.key(from))
		if err == nil {
			err = write(c.folder(node, "etc/kubernetes", to), text)
		}
		if err != nil {
			return fmt.Errorf("give %s its keys: %w", node, err)
		}
	}
	values := map[string]any{
		"Pause": pause, "DNS": dnsService(), "Domain": domain, "Pods": list(c.podNets()), "Node": node, "Registry": internet.Registry,
	}
	for name, to := range map[string]string{"containerd.toml": "containerd.toml", "kubelet.yaml": "kubelet.yaml", "proxy.yaml": "proxy.yaml", "hosts.toml": registries + "/" + internet.Registry + "/hosts.toml"} {
		text, err := fill(name, values)
		if err == nil {
			err = write(c.folder(node, "etc/kubernetes", to), text)
		}
		if err != nil {
			return fmt.Errorf("configure %s: %w", node, err)
		}
	}
	if err := write(c.folder(node, "etc/kubernetes", "resolv.conf"), []byte(resolvConf(c.Site()))); err != nil {
		return fmt.Errorf("configure %s: %w", node, err)
	}
	return c.plugins(node)
}

// registries is the folder below /etc/kubernetes where the runtime finds how registries are reached.
const registries = "registries"

func resolvConf(servers ...netip.Addr) string {
	text := ""
	for _, s := range servers {
		text += fmt.Sprintf("nameserver %s\n", s)
	}
	return text
}

// plugins gives a node the stock CNI plugins. With our network only loopback and what may be chained to us stays.
func (c *Cluster) plugins(node string) error {
	names := []string{"loopback", "portmap"}
	if c.Options.Network == PTP {
		names = append(names, "ptp", "host-local")
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(c.cache.CNI(), name))
		if err == nil {
			err = write(c.folder(node, "opt/cni/bin", name), text)
		}
		if err == nil {
			err = os.Chmod(c.folder(node, "opt/cni/bin", name), 0o755)
		}
		if err != nil {
			return fmt.Errorf("give %s its CNI plugins: %w", node, err)
		}
	}
	return os.MkdirAll(c.folder(node, "etc/cni/net.d"), 0o755)
}

// start starts the services of a node: one supervisor, which is told by a file.
func (c *Cluster) start(node string) error {
	file := c.folder(node, "orders.json")
	text, err := json.Marshal(orders{
		Node: node, Services: c.services(node), Logs: c.Logs(), State: c.folder(node, "services.json"),
		Env: []string{"PATH=" + c.path(), "HOME=/root"},
	})
	if err == nil {
		err = write(file, text)
	}
	if err != nil {
		return fmt.Errorf("start the services of %s: %w", node, err)
	}
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("start the services of %s: %w", node, err)
	}
	defer in.Close()
	log, err := os.Create(logFile(c.Logs(), node, "supervisor"))
	if err != nil {
		return fmt.Errorf("start the services of %s: %w", node, err)
	}
	defer log.Close()
	cmd := exec.Command(c.self(), superviseCall)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = in, log, log, "/"
	cmd.Env = []string{"PATH=" + c.path(), "HOME=/root"}
	if err := c.place(node).Start(cmd, "", ""); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// usePTP gives a node the stock plugin's configuration for the prefixes that Kubernetes wrote. A runtime looks when the file is complete.
func (c *Cluster) usePTP(node string, prefixes []netip.Prefix) error {
	text, err := fill("ptp.json", map[string]any{"Prefixes": prefixes, "Dual": c.dual()})
	file := c.folder(node, "etc/cni/net.d/10-pods.conflist")
	if err == nil {
		err = os.WriteFile(file+".new", text, 0o644)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("configure the network of %s: %w", node, err)
	}
	return nil
}

// importImages gives a node's runtime the images. It returns when they can be used.
func (c *Cluster) importImages(ctx context.Context, node string, files []string) error {
	if err := c.awaitRuntime(ctx, node); err != nil {
		return err
	}
	for _, file := range files {
		out, err := c.output(ctx, node, c.cache.Bin()+"/ctr", "-a", runtimeSocket, "-n", "k8s.io", "images", "import", "--local", file)
		if err != nil {
			return fmt.Errorf("import %s on %s: %w\n%s", filepath.Base(file), node, err, out)
		}
	}
	return nil
}

// ourImage builds the image of Hexapod from the programs of the tree.
func (c *Cluster) ourImage(ctx context.Context) (string, error) {
	file := filepath.Join(c.dir, "hexapod.tar")
	if err := build.Ours(ctx, c.Options.Programs, file); err != nil {
		return "", fmt.Errorf("make the image of Hexapod (make build makes its programs): %w", err)
	}
	return file, nil
}
