package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// runtimeSocket is where containerd of a node listens.
const runtimeSocket = "/run/containerd/containerd.sock"

// look is how often to ask what tells nobody when it changes: a socket that is not there yet, an API server that is not ready.
const look = 100 * time.Millisecond

// until asks every so often. The error is why ctx ended, with the last answer.
func until(ctx context.Context, what string, ask func() error) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %v)", what, context.Cause(ctx), err)
		}
	}
}

func (c *Cluster) awaitRuntime(ctx context.Context, node string) error {
	return until(ctx, "containerd of "+node, func() error {
		return c.place(node).Do(func() error {
			conn, err := net.Dial("unix", runtimeSocket)
			if err != nil {
				return err
			}
			return conn.Close()
		})
	})
}

func (c *Cluster) awaitAPI(ctx context.Context) error {
	return until(ctx, "the API server", func() error {
		_, err := c.kubectl(ctx, nil, "get", "--raw", "/readyz")
		return err
	})
}

// Command prepares a program on a machine; the caller sets its streams and hands it to Run.
func (c *Cluster) Command(ctx context.Context, words ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	if !strings.Contains(words[0], "/") {
		if file := filepath.Join(c.cache.Bin(), words[0]); executable(file) {
			cmd.Path, cmd.Err = file, nil
		}
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+c.path(), "KUBECONFIG="+c.Kubeconfig())
	return cmd
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode()&0o111 != 0
}

// Run runs a program on a machine: the router, or a node.
func (c *Cluster) Run(machine string, cmd *exec.Cmd) error {
	p, err := c.machine(machine)
	if err != nil {
		return err
	}
	return p.Run(cmd, "", "")
}

// output runs a program on a machine and returns what it said.
func (c *Cluster) output(ctx context.Context, machine string, words ...string) (string, error) {
	var out bytes.Buffer
	cmd := c.Command(ctx, words...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := c.Run(machine, cmd)
	return strings.TrimSpace(out.String()), err
}

// kubectl asks the API server, as its administrator. What it complained about is in the error.
func (c *Cluster) kubectl(ctx context.Context, in io.Reader, words ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := c.Command(ctx, append([]string{"kubectl"}, words...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &said
	if err := c.Run(Router, cmd); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// apply makes objects out of a text of YAML.
func (c *Cluster) apply(ctx context.Context, text []byte) error {
	_, err := c.kubectl(ctx, bytes.NewReader(text), "apply", "-f", "-")
	return err
}

// await waits, by a watch, for objects to be what kubectl wait calls a condition.
func (c *Cluster) await(ctx context.Context, condition string, what ...string) error {
	words := append([]string{"wait", "--for=" + condition, "--timeout=" + patience.String()}, what...)
	_, err := c.kubectl(ctx, nil, words...)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// prefixes waits until a node has its prefixes, and reads them.
func (c *Cluster) prefixes(ctx context.Context, node string) ([]netip.Prefix, error) {
	if err := c.await(ctx, "create", "node/"+node); err != nil {
		return nil, err
	}
	if err := c.await(ctx, "jsonpath={.spec.podCIDRs}", "node/"+node); err != nil {
		return nil, err
	}
	text, err := c.kubectl(ctx, nil, "get", "node", node, "-o", "jsonpath={range .spec.podCIDRs[*]}{@}{' '}{end}")
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, word := range strings.Fields(text) {
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("prefixes of node %s: %w", node, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// Program is the path of a built program.
func (c *Cluster) Program(name string) string { return filepath.Join(c.cache.Bin(), name) }
