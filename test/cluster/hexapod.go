package cluster

import (
	"context"
	"fmt"
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
	if err := c.await(ctx, "condition=Established", "crd/addressplans.hexapod.dev"); err != nil {
		return err
	}
	values := map[string]any{"Name": "home", "Fabric": fabric6, "HostPrefixes": c.Options.HostPrefixes, "IPv4": ""}
	if c.dual() && c.Options.HostPrefixes == Plan {
		values["IPv4"] = podNet4.String()
	}
	plan, err := render("addressplan.yaml", values)
	if err != nil {
		return err
	}
	if err := c.apply(ctx, plan); err != nil {
		return err
	}
	c.report("Hexapod installed")
	for _, n := range c.Nodes() {
		prefixes, err := c.prefixes(ctx, n)
		if err != nil {
			return err
		}
		// Hosts on one link learn each other's prefixes from the cluster; the router to the outside is told by its operator.
		if err := c.routePods(ctx, n, prefixes, []string{Router}); err != nil {
			return err
		}
	}
	c.report(fmt.Sprintf("nodes have their prefixes (%s)", c.Options.HostPrefixes))
	return nil
}
