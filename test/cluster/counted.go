package cluster

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// countTable is a table of nftables on every node that counts packets to addresses of Services, after connections are tracked and before
// anybody translates them.
const countTable = "inet cluster-services"

// countScript makes the table anew.
const countScript = `table COUNT {}
delete table COUNT
table COUNT {
	counter seen {}
	chain forwarded { type filter hook prerouting priority -150; MATCH counter name seen; }
	chain sent { type filter hook output priority -150; MATCH counter name seen; }
}
`

var countedPackets = regexp.MustCompile(`packets (\d+)`)

// CountServices begins to count, on every node, packets of TCP and UDP to addresses of Services that reach the kernel's tables and begin
// something there. kube-proxy could serve only those: what is led to a backend by its socket, or where it leaves a pod, is not among them.
// Connections that are older count no more: agents and controllers may have reached the API server by kube-proxy before there were agents.
func (c *Cluster) CountServices(ctx context.Context) error {
	match := fmt.Sprintf("ip6 daddr %s meta l4proto { tcp, udp } ct state new", serviceNet6)
	script := strings.NewReplacer("COUNT", countTable, "MATCH", match).Replace(countScript)
	for _, n := range c.Nodes() {
		if out, err := c.output(ctx, n, "nft", script); err != nil {
			return fmt.Errorf("count packets to services on %s: %w\n%s", n, err, out)
		}
	}
	return nil
}

// CountedServices is how many packets were counted on all nodes since CountServices.
func (c *Cluster) CountedServices(ctx context.Context) (packets int, err error) {
	for _, n := range c.Nodes() {
		out, err := c.output(ctx, n, "nft", "list", "counter", "inet", "cluster-services", "seen")
		found := countedPackets.FindStringSubmatch(out)
		if err != nil || found == nil {
			return 0, fmt.Errorf("read how many packets to services %s counted: %w\n%s", n, err, out)
		}
		count, err := strconv.Atoi(found[1])
		if err != nil {
			return 0, fmt.Errorf("packets to services on %s: %w", n, err)
		}
		packets += count
	}
	return packets, nil
}
