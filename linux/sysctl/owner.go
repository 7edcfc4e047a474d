package sysctl

import (
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/linux/rtnl"
	"hexapod.dev/model/desired"
)

// owner tells which other program looks after a link; empty when none does. hears is whether routes from a router
// advertisement exist on it.
//
// systemd-networkd writes /run/systemd/netif/links/<index>, NetworkManager /run/NetworkManager/devices/<index>. Both listen
// for advertisements themselves and set accept_ra to 0; the kernel listening beside them would make two clients of one.
func (c *Care) owner(l rtnl.Link, hears bool) desired.Why {
	switch state := c.state("systemd/netif/links", l)["ADMIN_STATE"]; state {
	case "", "unmanaged", "linger":
	default:
		return OwnedByNetworkd
	}
	if c.state("NetworkManager/devices", l)["managed"] == "true" {
		return OwnedByNM
	}
	if l.AcceptRA == 0 && hears {
		return OwnedByOther
	}
	return ""
}

// state reads the KEY=value lines a program left about a link; none when there is no such program.
func (c *Care) state(dir string, l rtnl.Link) map[string]string {
	b, err := os.ReadFile(filepath.Join(c.run, dir, index(l)))
	if err != nil {
		return nil
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = value
		}
	}
	return values
}
