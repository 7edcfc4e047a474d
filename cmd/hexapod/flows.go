package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"hexapod.dev/agent/local"
)

const flowsUsage = "[--drop --follow] [-o table|json] [--run DIR]"

func runFlows(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists the flows from and to endpoints of this host. With --drop --follow it tells of packets as they are dropped, until it is ended.")
	drop := q.Bool("drop", false, "tell of dropped packets instead of flows")
	follow := q.Bool("follow", false, "go on until ended; needs --drop")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	if *drop != *follow {
		return usagef("--drop and --follow go together: what was dropped before is counted (hexapod_datapath_packets_total) and not kept")
	}
	client := local.NewClient(*q.run)
	if *drop {
		return client.FollowDrops(ctx, func(d local.Drop) error { return printDrop(env.stdout, *q.output, d) })
	}
	flows, err := client.Flows(ctx)
	if err != nil {
		return err
	}
	return printFlows(env.stdout, *q.output, flows)
}

func printDrop(w io.Writer, f format, d local.Drop) error {
	if f == formatJSON {
		return printJSON(w, d)
	}
	why := d.Why
	if about := d.Rule + d.Function; about != "" { // never both
		why += " (" + about + ")"
	}
	_, err := fmt.Fprintf(w, "%s %s %s: %s > %s %s, %d bytes\n", d.Place, orDash(d.Link), why, end(d.From), end(d.To), protocol(d.Proto), d.Length)
	return err
}

func printFlows(w io.Writer, f format, flows []local.Flow) error {
	if f == formatJSON {
		return printJSON(w, flows)
	}
	rows := make([][]string, len(flows))
	for i, l := range flows {
		rows[i] = []string{end(l.From), end(l.To), protocol(l.Proto), l.State, strconv.Itoa(l.Idle) + "s", orDash(l.Endpoint)}
	}
	return printTable(w, []string{"FROM", "TO", "PROTO", "STATE", "IDLE", "ENDPOINT"}, rows)
}

// end writes one end of a flow; one without a port is its address alone.
func end(a netip.AddrPort) string {
	switch {
	case !a.Addr().IsValid():
		return "-"
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.String()
}

// protocol names a protocol number (IANA).
func protocol(n uint8) string {
	switch n {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(n))
}
