package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Check looks for what must hold on every cluster: no IPv4 where none was asked for, components that listen on IPv6, and
// configuration for kubeadm that it accepts. It reports what it found to be right.
func (c *Cluster) Check(ctx context.Context, report func(string)) error {
	return errors.Join(c.checkAddresses(ctx, report), c.checkListeners(ctx, report), c.checkKubeadm(ctx, report))
}

// everywhere prints the IPv4 addresses of a node and of each pod on it, a line each, after the name of the namespace.
const everywhere = `ip -4 -o address | sed 's/^/node /'
for n in $(ls /run/netns); do ip -n "$n" -4 -o address | sed "s/^/$n /"; done`

// checkAddresses finds IPv4 addresses on nodes and pods of an IPv6-only cluster. The kernel gives lo 127.0.0.1 by itself, and a gateway has its
// leg in the IPv4 Internet.
func (c *Cluster) checkAddresses(ctx context.Context, report func(string)) error {
	if c.dual() {
		return nil
	}
	seen := 0
	for _, n := range c.Nodes() {
		out, err := c.output(ctx, n, "sh", "-c", everywhere)
		if err != nil {
			return fmt.Errorf("list the IPv4 addresses of %s: %w\n%s", n, err, out)
		}
		for line := range strings.Lines(out) {
			if words := strings.Fields(line); slices.Contains(c.Gateways(), n) && words[0] == "node" && words[2] == leg {
				continue
			}
			seen++
			if !strings.Contains(line, " inet 127.0.0.1/8 ") {
				return fmt.Errorf("%s has an IPv4 address: %s", n, strings.TrimSpace(line))
			}
		}
	}
	report(fmt.Sprintf("no IPv4 address but 127.0.0.1 in %d namespaces of nodes and pods", seen))
	return nil
}

// checkListeners finds sockets of components that IPv4 alone reaches.
func (c *Cluster) checkListeners(ctx context.Context, report func(string)) error {
	count := 0
	for _, n := range c.Nodes() {
		four, err := c.output(ctx, n, "ss", "-H", "-4", "-ltunp")
		if err != nil {
			return fmt.Errorf("list what listens on %s: %w\n%s", n, err, four)
		}
		if four != "" {
			return fmt.Errorf("%s has components that listen on IPv4 alone:\n%s", n, four)
		}
		six, err := c.output(ctx, n, "ss", "-H", "-6", "-ltun")
		if err != nil {
			return fmt.Errorf("list what listens on %s: %w\n%s", n, err, six)
		}
		count += strings.Count(six, "\n") + 1
	}
	report(fmt.Sprintf("%d sockets of components, all on IPv6", count))
	return nil
}

// checkKubeadm asks kubeadm of the same version whether it takes what a plan is rendered to. It runs where there is no way to the
// internet: asked for a version, kubeadm would look there.
func (c *Cluster) checkKubeadm(ctx context.Context, report func(string)) error {
	examples, err := filepath.Glob(filepath.Join(c.cache.Tree, "examples", "*", "plan.yaml"))
	if err != nil || len(examples) == 0 {
		return fmt.Errorf("find the example plans in %s: %w", c.cache.Tree, errors.Join(err, errors.New("there is none")))
	}
	files := 0
	for _, e := range examples {
		dir := filepath.Join(c.dir, "kubeadm", filepath.Base(filepath.Dir(e)))
		out, err := c.output(ctx, Router, filepath.Join(c.Options.Programs, "hexapod"), "plan", "render", "--for", "kubeadm", "--config", filepath.Dir(e), "--out", dir)
		if err != nil {
			return fmt.Errorf("render %s for kubeadm: %w\n%s", e, err, out)
		}
		rendered, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil || len(rendered) == 0 {
			return fmt.Errorf("%s was rendered to no file: %w", e, err)
		}
		for _, file := range rendered {
			if out, err := c.output(ctx, Router, "kubeadm", "config", "validate", "--config", file); err != nil {
				return fmt.Errorf("kubeadm does not take %s: %w\n%s", file, err, out)
			}
			files++
		}
	}
	report(fmt.Sprintf("kubeadm accepts %d files of plan render --for kubeadm", files))
	return nil
}
