package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// wire lays the nodes' network: one link for all, with the router on it, or the cables of a fabric.
func (c *Cluster) wire(ctx context.Context) error {
	if c.Options.Fabric == BGP {
		return c.cables(ctx)
	}
	lines := []string{"link add br0 type bridge", "link set br0 up"}
	for _, a := range c.addresses(Router) {
		lines = append(lines, address(a, "br0"))
	}
	for _, n := range c.Nodes() {
		pid, err := c.place(n).Holder()
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("link add to-%s type veth peer name eth0 netns %d", n, pid), fmt.Sprintf("link set to-%s master br0 up", n))
	}
	if err := c.sysctl(ctx, Router, c.forwarding()...); err != nil {
		return err
	}
	if err := c.ip(ctx, Router, lines); err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		if err := c.wireNode(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) wireNode(ctx context.Context, node string) error {
	if c.Options.Network == PTP { // the other networks are to look after their hosts themselves
		if err := c.sysctl(ctx, node, c.forwarding()...); err != nil {
			return err
		}
	}
	lines := []string{"link set eth0 up"}
	for _, a := range c.addresses(node) {
		lines = append(lines, address(a, "eth0"))
	}
	for _, r := range c.nodeIPs(Router) {
		lines = append(lines, fmt.Sprintf("route add default via %s", r))
	}
	return c.ip(ctx, node, lines)
}

// address is the line of ip(8) that gives a link an address. Nothing else has it, so nothing waits for duplicate address detection.
func address(a netip.Prefix, link string) string {
	if a.Addr().Is4() {
		return fmt.Sprintf("address add %s dev %s", a, link)
	}
	return fmt.Sprintf("address add %s dev %s nodad", a, link)
}

func (c *Cluster) forwarding() []string {
	return families(c, "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1")
}

// routePods tells every machine but the node itself where the node's pods are.
func (c *Cluster) routePods(ctx context.Context, node string, prefixes []netip.Prefix, machines []string) error {
	for _, m := range machines {
		if m == node {
			continue
		}
		var lines []string
		for _, p := range prefixes {
			for _, via := range c.nodeIPs(node) {
				if via.Is4() == p.Addr().Is4() {
					lines = append(lines, fmt.Sprintf("route replace %s via %s", p, via))
				}
			}
		}
		if err := c.ip(ctx, m, lines); err != nil {
			return err
		}
	}
	return nil
}

// ip runs lines of ip(8) on a machine; the first that fails ends it.
func (c *Cluster) ip(ctx context.Context, machine string, lines []string) error {
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := c.place(machine).Run(cmd, "", ""); err != nil {
		return fmt.Errorf("set up the network of %s: %w\n%s", machine, err, strings.TrimSpace(out.String()))
	}
	return nil
}

func (c *Cluster) sysctl(ctx context.Context, machine string, settings ...string) error {
	out, err := c.output(ctx, machine, append([]string{"sysctl", "-qw"}, settings...)...)
	if err != nil {
		return fmt.Errorf("set %s of %s: %w\n%s", strings.Join(settings, " "), machine, err, out)
	}
	return nil
}

// UsePTP gives a running cluster that has no network the stock one: forwarding, plugins, their configuration and routes.
func (c *Cluster) UsePTP(ctx context.Context) error {
	c.Options.Network = PTP
	for _, n := range c.Nodes() {
		if err := c.sysctl(ctx, n, c.forwarding()...); err != nil {
			return err
		}
		if err := c.plugins(n); err != nil {
			return err
		}
	}
	if err := c.ptp(ctx); err != nil {
		return err
	}
	return c.save()
}
