package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hexapod.dev/test/cluster/build"
)

// patience bounds every wait for Kubernetes. A cluster needs 20 s; a loaded machine some more.
const patience = 3 * time.Minute

// Up brings a cluster up and leaves it running. It reports each step.
//
// After an error what there is stays, for a look at its logs; Down removes it.
func Up(ctx context.Context, cache build.Cache, o Options, report func(string)) (*Cluster, error) {
	if err := errors.Join(o.Check(), Preflight()); err != nil {
		return nil, err
	}
	c, err := locate(cache, o.Name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("cluster %s is there already, in %s: `make cluster-down` removes it", o.Name, c.dir), err, c.Close())
	}
	c.Options, c.report = o, report
	if err := c.up(ctx); err != nil {
		return nil, errors.Join(c.explain(err), c.Close())
	}
	return c, nil
}

func (c *Cluster) up(ctx context.Context) error {
	for _, dir := range []string{c.dir, c.Logs(), filepath.Dir(c.self())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the folder of cluster %s: %w", c.Options.Name, err)
		}
	}
	if err := c.save(); err != nil {
		return err
	}
	names, err := c.cache.Names(ctx)
	if err != nil {
		return err
	}
	if err := c.machines(ctx, names[build.PauseImage]); err != nil {
		return err
	}
	images := c.cache.Images()
	if c.Options.Network != PTP {
		ours, err := c.ourImage(ctx)
		if err != nil {
			return err
		}
		images = append([]string{images[0], ours}, images[1:]...)
	}
	ctx, stop := c.watch(ctx)
	defer stop()
	imported := c.inBackground(c.Nodes(), func(node string) error { return c.importImages(ctx, node, images) })
	if err := c.control(ctx); err != nil {
		return errors.Join(err, <-imported)
	}
	if err := <-imported; err != nil {
		return err
	}
	c.report("images imported")
	return nil
}

// machines makes all machines and their network, and starts the services.
func (c *Cluster) machines(ctx context.Context, pause string) error {
	self, err := os.Executable()
	if err == nil {
		err = copyFile(self, c.self())
	}
	if err != nil {
		return fmt.Errorf("keep a copy of this program: %w", err)
	}
	if err := c.makePKI(); err != nil {
		return err
	}
	c.report("keys made")
	if err := <-c.inBackground(c.all(), func(m string) error { return c.makeMachine(ctx, m) }); err != nil {
		return err
	}
	if err := c.wire(ctx); err != nil {
		return err
	}
	if err := c.connectWorld(ctx); err != nil {
		return err
	}
	if err := c.startWorld(ctx); err != nil {
		return err
	}
	c.report("machines and network made")
	for _, n := range c.Nodes() {
		if err := c.configure(n, pause); err != nil {
			return err
		}
		if err := c.start(n); err != nil {
			return err
		}
	}
	c.report("services started")
	return nil
}

// control waits for the API server and gives it what a cluster needs, until the nodes are ready.
func (c *Cluster) control(ctx context.Context) error {
	if err := c.awaitAPI(ctx); err != nil {
		return err
	}
	c.report("API server ready")
	dns := c.inBackground([]string{controlPlane}, func(string) error { return c.dns(ctx) })
	var err error
	switch c.Options.Network {
	case PTP:
		err = c.ptp(ctx)
	case Hexapod:
		err = c.hexapod(ctx)
	case None:
		c.report("no network was asked for: the nodes become ready when you install one")
		return <-dns
	}
	if err := errors.Join(err, <-dns); err != nil {
		return err
	}
	if err := c.await(ctx, "condition=Ready", "node", "--all"); err != nil {
		return err
	}
	c.report("nodes ready")
	if _, err := c.kubectl(ctx, nil, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout="+patience.String()); err != nil {
		return err
	}
	c.report("DNS ready")
	return nil
}

// dns installs the name server of the cluster.
func (c *Cluster) dns(ctx context.Context) error {
	text, err := fill("coredns.yaml", map[string]any{"Image": build.DNSImage, "DNS": dnsService(), "Domain": domain, "Site": c.Site(), "Internet": len(c.worldly()) > 0})
	if err != nil {
		return err
	}
	return c.apply(ctx, text)
}

// ptp is the reference network: the stock plugin with the prefixes that Kubernetes gives out, and a route for each.
func (c *Cluster) ptp(ctx context.Context) error {
	for _, n := range c.Nodes() {
		prefixes, err := c.prefixes(ctx, n)
		if err != nil {
			return err
		}
		if err := c.usePTP(n, prefixes); err != nil {
			return err
		}
		if err := c.routePods(ctx, n, prefixes, append([]string{Router}, c.Nodes()...)); err != nil {
			return err
		}
	}
	c.report("stock network configured")
	return nil
}

// inBackground does something for each machine at once. The channel gives all errors, when all are done.
func (c *Cluster) inBackground(machines []string, do func(string) error) <-chan error {
	errs := make([]error, len(machines))
	var all sync.WaitGroup
	for i, m := range machines {
		all.Go(func() { errs[i] = do(m) })
	}
	done := make(chan error, 1)
	go func() {
		all.Wait()
		done <- errors.Join(errs...)
	}()
	return done
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}
