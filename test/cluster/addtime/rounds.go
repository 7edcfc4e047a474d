package addtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/paired"
)

// Options say how much to measure.
type Options struct {
	Cluster *cluster.Cluster // with NETWORK=hexapod
	Pause   string           // image of what does nothing
	Self    string           // a program that calls Timed for Verb, by a path that nodes see
	Plugins string           // folder of the stock plugins
	Version string           // of what is measured
	Pairs   int              // rounds of each network
	Pods    int              // of each round, made together
	Report  func(string)
}

// node is where the pods go.
const node = "w1"

// network is one of the two: a configuration, and the plugin that does the work.
type network struct {
	name   string
	config string // file in the runtime's folder
	plugin string
}

var networks = []network{
	{"hexapod", "05-hexapod.conflist", "hexapod-cni"},
	{"ptp", "10-ptp.conflist", "ptp"},
}

// stock is the configuration of the peer: what the reference cluster has, with a range that nobody routes.
const stock = `{"cniVersion": "1.0.0", "name": "stock", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "2001:db8:30::/64"}]], "routes": [{"dst": "::/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
`

// Round is what one network took in one pair: microseconds of each ADD.
type Round struct {
	Network string  `json:"network"`
	Pair    int     `json:"pair"`
	Add     []int64 `json:"add"`
}

// Measure runs all pairs and puts the node back as it was. The first pair warms up and is not kept.
func Measure(ctx context.Context, o Options) (_ *Result, err error) {
	if o.Cluster.Options.Network != cluster.Hexapod {
		return nil, fmt.Errorf("cluster %s has NETWORK=%s: want hexapod", o.Cluster.Options.Name, o.Cluster.Options.Network)
	}
	b := bench{Options: o, bin: o.Cluster.Disk(node, "opt/cni/bin"), conf: o.Cluster.Disk(node, "etc/cni/net.d")}
	defer func() { err = errors.Join(err, b.restore()) }()
	if err := b.prepare(); err != nil {
		return nil, err
	}
	r := &Result{Machine: paired.This(o.Version), Pairs: o.Pairs, Pods: o.Pods}
	for pair := range o.Pairs + 1 {
		for _, k := range paired.Turns(len(networks), pair) {
			n := networks[k]
			took, err := b.round(ctx, n)
			if err != nil {
				return nil, fmt.Errorf("round %d of %s: %w", pair, n.name, err)
			}
			if pair > 0 {
				r.Rounds = append(r.Rounds, &Round{n.name, pair, took})
			}
		}
		o.Report(fmt.Sprintf("pair %d of %d", pair, o.Pairs))
	}
	r.figures()
	return r, nil
}

// bench is the node while it is measured.
type bench struct {
	Options
	bin, conf string // the runtime's folders, from outside
}

func (b *bench) log() string           { return filepath.Join(b.conf, "add-times") }
func (b *bench) real(p string) string  { return filepath.Join(b.bin, "timed", p) }
func (b *bench) aside(f string) string { return filepath.Join(b.conf, "aside", f) }

// prepare puts the program before both plugins.
func (b *bench) prepare() error {
	for _, dir := range []string{filepath.Dir(b.real("x")), filepath.Dir(b.aside("x"))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"ptp", "host-local"} {
		text, err := os.ReadFile(filepath.Join(b.Plugins, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(b.bin, name), text, 0o755)
		}
		if err != nil {
			return fmt.Errorf("install the stock plugins: %w", err)
		}
	}
	for _, n := range networks {
		if err := os.Rename(filepath.Join(b.bin, n.plugin), b.real(n.plugin)); err != nil {
			return err
		}
		script := fmt.Sprintf("#!/bin/sh\nexec %s %s /opt/cni/bin/timed/%s /etc/cni/net.d/add-times\n", b.Self, Verb, n.plugin)
		if err := os.WriteFile(filepath.Join(b.bin, n.plugin), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(b.aside(networks[1].config), []byte(stock), 0o644)
}

// restore takes away what prepare made.
func (b *bench) restore() error {
	errs := []error{b.use(networks[0])}
	ours := networks[0].plugin
	if _, err := os.Stat(b.real(ours)); err == nil {
		errs = append(errs, os.Rename(b.real(ours), filepath.Join(b.bin, ours)))
	}
	return errors.Join(append(errs, os.RemoveAll(filepath.Dir(b.real("x"))), os.RemoveAll(filepath.Dir(b.aside("x"))),
		os.RemoveAll(filepath.Join(b.bin, "ptp")), os.RemoveAll(filepath.Join(b.bin, "host-local")), os.RemoveAll(b.log()))...)
}

// use makes the configuration of a network the only one that the runtime finds.
func (b *bench) use(n network) error {
	for _, other := range networks {
		from, to := b.aside(other.config), filepath.Join(b.conf, other.config)
		if other != n {
			from, to = to, from
		}
		if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// settled is how long the node has nothing to do before pods are made: the runtime has read its configuration then, and the kernel
// has taken down what was.
const settled = 2 * time.Second

// round makes pods and deletes them, and returns how long each ADD took.
func (b *bench) round(ctx context.Context, n network) ([]int64, error) {
	if err := b.use(n); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settled):
	}
	before, err := read(b.log(), n.plugin)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for i := range b.Pods {
		fmt.Fprintf(&text, `---
apiVersion: v1
kind: Pod
metadata: {name: addtime-%d, namespace: default, labels: {app: addtime}}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: %q, imagePullPolicy: IfNotPresent}]
`, i, node, b.Pause)
	}
	for _, words := range [][]string{
		{"create", "-f", "-"},
		{"wait", "--for=condition=Ready", "pod", "-l", "app=addtime", "--timeout=5m"},
		{"delete", "pod", "-l", "app=addtime", "--timeout=5m"},
	} {
		if err := b.kubectl(ctx, text.String(), words...); err != nil {
			return nil, err
		}
	}
	after, err := read(b.log(), n.plugin)
	if err == nil && len(after)-len(before) != b.Pods {
		err = fmt.Errorf("%d ADDs for %d pods", len(after)-len(before), b.Pods)
	}
	if err != nil {
		return nil, err
	}
	return after[len(before):], nil
}

func (b *bench) kubectl(ctx context.Context, text string, words ...string) error {
	cmd := b.Cluster.Command(ctx, append([]string{"kubectl"}, words...)...)
	var said strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(text), &said
	if err := b.Cluster.Run(cluster.Router, cmd); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", words[0], err, strings.TrimSpace(said.String()))
	}
	return nil
}
