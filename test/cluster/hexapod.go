package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
)

// Where the tree keeps what installs Hexapod on a cluster. The kinds are part of the manifests too; given first, the API server has made
// room for them when the programs come.
const (
	kinds     = "deploy/crds"
	manifests = "deploy/kustomize/base"
)

// hexapod installs our network as an operator does: the manifests of the tree, and one address plan.
func (c *Cluster) hexapod(ctx context.Context) error {
	for _, dir := range []string{kinds, manifests} {
		if _, err := c.kubectl(ctx, nil, "apply", "--server-side", "-k", filepath.Join(c.cache.Tree, dir)); err != nil {
			return err
		}
	}
	if !c.Options.KubeProxy {
		// Who serves Services cannot reach the API server by one: the address that an operator gives the chart, too.
		if _, err := c.kubectl(ctx, nil, "-n", "hexapod-system", "set", "env", "daemonset/hexapod-agent", "deployment/hexapod-controller",
			fmt.Sprintf("KUBERNETES_SERVICE_HOST=%s", c.nodeIPs(controlPlane)[0]), "KUBERNETES_SERVICE_PORT=6443"); err != nil {
			return err
		}
	}
	if err := c.await(ctx, "condition=Established", "crd/addressplans.hexapod.dev"); err != nil {
		return err
	}
	values := map[string]any{"Name": planName, "Fabric": fabric6, "HostPrefixes": c.Options.HostPrefixes, "IPv4": "", "Racks": []int(nil), "ASN": spineASN}
	for r := range c.tors() {
		values["Racks"] = append(values["Racks"].([]int), r+1)
	}
	if c.dual() && c.Options.HostPrefixes == Plan {
		values["IPv4"] = podNet4.String()
	}
	plan, err := fill("addressplan.yaml", values)
	if err != nil {
		return err
	}
	if err := c.apply(ctx, plan); err != nil {
		return err
	}
	if c.Options.Fabric == BGP {
		peer, err := fill("bgppeer.yaml", nil)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, peer); err != nil {
			return err
		}
	}
	c.report("Hexapod installed")
	return c.reach(ctx)
}

// reach tells the routers where the pods of each node are. Hosts on one link learn each other's prefixes from the cluster; routers are told
// by their operator, or by BGP.
func (c *Cluster) reach(ctx context.Context) error {
	first := map[string]netip.Prefix{}
	for _, n := range c.Nodes() {
		prefixes, err := c.prefixes(ctx, n)
		if err != nil {
			return err
		}
		first[n] = prefixes[0]
		if c.Options.Fabric == BGP {
			continue
		}
		if err := c.routePods(ctx, n, prefixes, []string{Router}); err != nil {
			return err
		}
	}
	c.report(fmt.Sprintf("nodes have their prefixes (%s)", c.Options.HostPrefixes))
	if c.Options.Fabric != BGP {
		return nil
	}
	if err := c.speak(ctx, first); err != nil {
		return err
	}
	if err := c.awaitRoutes(ctx, first); err != nil {
		return err
	}
	c.report("routers learned the nodes' prefixes by BGP")
	return nil
}
