package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"hexapod.dev/model/addressplan/render"
	"hexapod.dev/model/prefix"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
	"hexapod.dev/test/cluster/internet"
)

// Internets that a cluster can have beside it.
const (
	NoInternet   = "none"
	IPv4Internet = "ipv4" // servers that have IPv4 alone, and two nodes that reach them
)

// world is the machine of the servers.
const world = "internet"

// gateways are as many workers, the first ones, that have a leg in the IPv4 Internet. They are in different racks.
const gateways = 2

// leg is the name of a gateway's link to the IPv4 Internet.
const leg = "v4"

// MuslImage is an image that no node has and the registry of the IPv4 Internet gives out.
const MuslImage = internet.Registry + "/clients/musl:1"

// internetCall is the first of the arguments with which the program runs a part of the world.
const internetCall = "internet"

// InternetAddr is the server of the IPv4 Internet. It is somebody's in the real one, because the well-known prefix of NAT64 carries no
// others (RFC 6052 3.1); no packet with it leaves the cluster's namespaces.
var InternetAddr = netip.MustParseAddr("45.66.0.80")

// InternetPool is what clients of the gateways are seen by, and InternetLegs what their legs have, a /30 each.
var (
	InternetPool = netip.MustParsePrefix("45.65.0.0/29")
	InternetLegs = netip.MustParsePrefix("45.64.0.0/24")
)

// worldly are the machines that have IPv4 alone.
func (c *Cluster) worldly() []string {
	if c.Options.Internet != IPv4Internet {
		return nil
	}
	return []string{world}
}

// Gateways are the nodes with a leg in the IPv4 Internet.
func (c *Cluster) Gateways() []string {
	if c.Options.Internet != IPv4Internet {
		return nil
	}
	return c.Nodes()[1 : 1+gateways]
}

// legs are the addresses of the two ends of a gateway's leg.
func (c *Cluster) legs(gateway string) (above, below netip.Prefix) {
	first := 4 * slices.Index(c.Gateways(), gateway)
	return netip.PrefixFrom(nth(InternetLegs, first+1), 30), netip.PrefixFrom(nth(InternetLegs, first+2), 30)
}

// nameServers are whom a node asks for names. The first is the cluster's DNS: the node's own server, once the node has one.
func (c *Cluster) nameServers() []netip.Addr {
	if c.Options.Internet == IPv4Internet {
		return []netip.Addr{dnsService(), c.Site()}
	}
	return []netip.Addr{c.Site()}
}

// Site is the address of the router, where the name server of the site is.
func (c *Cluster) Site() netip.Addr { return c.nodeIPs(Router)[0] }

// connectWorld lays the legs of the gateways. The Internet knows by which of them each address of the pool is reached.
func (c *Cluster) connectWorld(ctx context.Context) error {
	if len(c.worldly()) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("address add %s/32 dev lo", InternetAddr)}
	for _, g := range c.Gateways() {
		pid, err := c.place(g).Holder()
		if err != nil {
			return err
		}
		above, below := c.legs(g)
		lines = append(lines,
			fmt.Sprintf("link add to-%s type veth peer name %s netns %d", g, leg, pid), fmt.Sprintf("link set to-%s addrgenmode none up", g),
			fmt.Sprintf("address add %s dev to-%s", above, g))
		if err := c.ip(ctx, world, lines); err != nil {
			return err
		}
		lines = nil
		err = c.ip(ctx, g, []string{
			fmt.Sprintf("link set %s addrgenmode none up", leg), fmt.Sprintf("address add %s dev %s", below, leg), fmt.Sprintf("route add default via %s", above.Addr()),
		})
		if err != nil {
			return err
		}
	}
	pool := nat64.Pool{Gateways: c.Gateways()}
	for a := InternetPool.Addr(); InternetPool.Contains(a); a = a.Next() {
		owner, _ := pool.Owners(nat64.Block{Addr: a})
		_, below := c.legs(owner)
		lines = append(lines, fmt.Sprintf("route add %s via %s", a, below.Addr()))
	}
	return c.ip(ctx, world, lines)
}

// startWorld starts what there is in the world: servers, and beside the router a name server that knows them.
func (c *Cluster) startWorld(ctx context.Context) error {
	if len(c.worldly()) == 0 {
		return nil
	}
	if err := errors.Join(c.worldFiles(), c.cache.Musl(ctx, c.folder(world, "musl.tar"))); err != nil {
		return fmt.Errorf("make the IPv4 Internet: %w", err)
	}
	servers := c.folder(world, "world.json")
	return errors.Join(
		c.startPart(world, internet.PartFour, c.self(), internetCall, internet.PartFour, servers),
		c.startPart(Router, internet.PartSix, c.self(), internetCall, internet.PartSix, servers),
		c.startPart(Router, "names", c.Program("coredns"), "-conf", c.folder(world, "names.conf")),
	)
}

// worldFiles writes what the servers are told.
func (c *Cluster) worldFiles() error {
	image, _ := strings.CutPrefix(MuslImage, internet.Registry+"/")
	config, err := json.MarshalIndent(internet.Config{
		Cert: c.key(registryCert + ".crt"), Key: c.key(registryCert + ".key"), Images: map[string]string{image: c.folder(world, "musl.tar")},
	}, "", "  ")
	if err != nil {
		return err
	}
	zone, err := fill("test.zone", map[string]any{
		"Four": InternetAddr, "Six": c.Site(), "Names": []string{internet.Web, internet.Registry, internet.Both},
		"Both": internet.Both, "Alias": internet.Alias, "Web": internet.Web,
	})
	if err != nil {
		return err
	}
	names, err := fill("names.conf", map[string]any{"Zone": c.folder(world, "test.zone")})
	return errors.Join(err,
		write(c.folder(world, "world.json"), config), write(c.folder(world, "test.zone"), zone), write(c.folder(world, "names.conf"), names))
}

func (c *Cluster) startPart(machine, part string, words ...string) error {
	log, err := os.Create(logFile(c.Logs(), world, part))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	if err := c.place(machine).Start(cmd, part, ""); err != nil {
		return fmt.Errorf("start %s of the IPv4 Internet: %w", part, err)
	}
	return cmd.Process.Release()
}

// runPart is what the program does that startPart starts.
func runPart(ctx context.Context, part, file string) error {
	return internet.Run(ctx, part, file, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// WorldLog is what the servers of the IPv4 Internet said: who asked for what.
func (c *Cluster) WorldLog() string { return logFile(c.Logs(), world, internet.PartFour) }

// passPref64 lets a router take the well-known prefix, which is no part of the plan, and pass it on to the other routers. Nodes find it by
// their default route.
func (c *Cluster) passPref64(r *render.Router) {
	carried := prefix.Exactly(xlat.WellKnown.Prefix())
	for i, p := range r.Peers {
		r.Peers[i].In = slices.Concat(p.In, carried)
		if !slices.Contains(c.Nodes(), p.Name) {
			r.Peers[i].Out = slices.Concat(p.Out, carried)
		}
	}
}
