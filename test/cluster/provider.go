package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"hexapod.dev/lab/router"
	"hexapod.dev/model/xlat"
)

// provider is the part of the router that translates, and the name of its TUN device.
const provider = "provider"

// ProviderPool is what clients of the provider's NAT64 are seen by.
var ProviderPool = netip.MustParsePrefix("45.67.0.0/24")

// providerLeg are the addresses of the two ends of the router's leg in the IPv4 Internet.
var providerLeg = [2]netip.Prefix{netip.MustParsePrefix("45.64.1.1/30"), netip.MustParsePrefix("45.64.1.2/30")}

// Provide gives the router a leg in the IPv4 Internet and a NAT64 (Debian's tayga), as the network outside may have one. Nothing tells the nodes of it.
func (c *Cluster) Provide(ctx context.Context, by netip.Prefix) error {
	if len(c.worldly()) == 0 {
		return fmt.Errorf("cluster %s has no IPv4 Internet: make it with INTERNET=ipv4", c.Options.Name)
	}
	if _, err := xlat.NewPref64(by); err != nil {
		return err
	}
	pid, err := c.place(Router).Holder()
	if err != nil {
		return err
	}
	file := c.folder(Router, "tayga.conf")
	err = errors.Join(
		c.ip(ctx, world, []string{
			fmt.Sprintf("link add to-router type veth peer name %s netns %d", leg, pid), "link set to-router addrgenmode none up",
			fmt.Sprintf("address add %s dev to-router", providerLeg[0]), fmt.Sprintf("route add %s via %s", ProviderPool, providerLeg[1].Addr()),
		}),
		write(file, fmt.Appendf(nil, "tun-device %s\nipv4-addr %s\nprefix %s\ndynamic-pool %s\ndata-dir %s\n",
			provider, ProviderPool.Addr().Next(), by, ProviderPool, c.folder(Router))),
		c.sysctl(ctx, Router, "net.ipv4.ip_forward=1"),
	)
	if err != nil {
		return err
	}
	if out, err := c.output(ctx, Router, "tayga", "-c", file, "--mktun"); err != nil {
		return fmt.Errorf("NAT64 of the provider: %w\n%s", err, out)
	}
	err = c.ip(ctx, Router, []string{
		"link set " + leg + " addrgenmode none up", fmt.Sprintf("address add %s dev %s", providerLeg[1], leg),
		fmt.Sprintf("route add default via %s", providerLeg[0].Addr()),
		"link set " + provider + " up", fmt.Sprintf("route add %s dev %s", ProviderPool, provider), fmt.Sprintf("route add %s dev %s", by, provider),
	})
	return errors.Join(err, c.startPart(Router, provider, "tayga", "-d", "-c", file))
}

// Unprovide takes away what Provide made.
func (c *Cluster) Unprovide(ctx context.Context) error {
	return errors.Join(
		c.place(Router).Group.Sub(provider).Remove(),
		c.ip(ctx, Router, []string{"link del " + provider, "link del " + leg}),
	)
}

// TellPref64 has the ToRs tell their nodes prefixes of a NAT64 in router advertisements (RFC 8781), and that those are over which they told before.
func (c *Cluster) TellPref64(now ...netip.Prefix) error {
	for _, tor := range c.tors() {
		file := c.folder(tor, "router.json")
		var config router.Config
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &config)
		}
		if err != nil {
			return err
		}
		before := slices.Concat(config.Pref64, config.PrefOver)
		config.Pref64, config.PrefOver = now, slices.DeleteFunc(before, func(p netip.Prefix) bool { return slices.Contains(now, p) })
		if text, err = json.MarshalIndent(config, "", "  "); err == nil {
			err = write(file, text)
		}
		pids, listed := c.place(tor).Group.Sub("router").PIDs()
		if err = errors.Join(err, listed); err != nil {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
				return fmt.Errorf("router of %s: %w", tor, err)
			}
		}
	}
	return nil
}
