package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/test/cluster/build"
)

// Down removes a cluster, whatever there is of it; the built programs and images stay. A cluster that does not exist is a success.
//
// Processes go first, and with them namespaces, links, routes and mounts; then their cgroups; the folder last, because it tells that
// there is something left.
func Down(cache build.Cache, name string) error {
	c, err := locate(cache, name)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.group.Remove(); err != nil {
		return fmt.Errorf("cluster %s: %w", name, err)
	}
	if err := c.legacy.Remove(); err != nil {
		return fmt.Errorf("cluster %s: %w", name, err)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("cluster %s: remove its folder: %w", name, err)
	}
	_ = os.Remove(filepath.Dir(c.dir)) // ENOTEMPTY: there is another cluster
	return c.leftovers()
}

// leftovers is an error that lists what there is on this machine of a cluster that should be gone.
func (c *Cluster) leftovers() error {
	var errs error
	for _, dir := range append([]string{c.dir}, c.legacy...) {
		if _, err := os.Stat(dir); err == nil {
			errs = errors.Join(errs, fmt.Errorf("cluster %s left %s", c.Options.Name, dir))
		}
	}
	if c.group.Exists() {
		errs = errors.Join(errs, fmt.Errorf("cluster %s left %s", c.Options.Name, c.group))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.dir+"/") {
			errs = errors.Join(errs, fmt.Errorf("cluster %s left the mount %s", c.Options.Name, strings.TrimSpace(line)))
		}
	}
	return errors.Join(errs, err)
}
