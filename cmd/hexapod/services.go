package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"hexapod.dev/agent/local"
)

func runServices(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists the services that clients on this host are led to: their addresses, ports and backends, and why one has none.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	services, err := local.NewClient(*q.run).Services(ctx)
	if err != nil {
		return err
	}
	return printServices(env.stdout, *q.output, services)
}

func printServices(w io.Writer, f format, services []local.Service) error {
	if f == formatJSON {
		return printJSON(w, services)
	}
	rows := make([][]string, len(services))
	for i, s := range services {
		state := string(s.State)
		if s.Why != "" {
			state += ": " + s.Why
		}
		vip, affinity := "-", "-"
		if s.Address.IsValid() {
			vip = netip.AddrPortFrom(s.Address, s.Port).String() + " " + s.Protocol.String()
		}
		if s.Affinity > 0 {
			affinity = (time.Duration(s.Affinity) * time.Second).String()
		}
		rows[i] = []string{s.Name, vip, someBackends(s.Backends), affinity, state}
	}
	return printTable(w, []string{"SERVICE", "ADDRESS", "BACKENDS", "AFFINITY", "STATE"}, rows)
}

// someBackends names the first of many; -o json has them all.
func someBackends(list []netip.AddrPort) string {
	const few = 3
	words := make([]string, 0, few)
	for _, b := range list[:min(few, len(list))] {
		words = append(words, b.String())
	}
	if len(list) > few {
		words = append(words, fmt.Sprintf("and %d more", len(list)-few))
	}
	return orDash(strings.Join(words, ","))
}
