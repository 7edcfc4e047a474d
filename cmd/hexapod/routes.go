package main

import (
	"context"
	"io"

	"hexapod.dev/agent/local"
)

func runRoutes(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists the routes this host should hold and whether the kernel holds them.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	routes, err := local.NewClient(*q.run).Routes(ctx)
	if err != nil {
		return err
	}
	return printRoutes(env.stdout, *q.output, routes)
}

func printRoutes(w io.Writer, f format, routes []local.Route) error {
	if f == formatJSON {
		return printJSON(w, routes)
	}
	rows := make([][]string, len(routes))
	for i, r := range routes {
		via := orDash(r.Via)
		if r.Discard {
			via = "discard"
		}
		state := string(r.State)
		if r.Why != "" {
			state += ": " + r.Why
		}
		rows[i] = []string{r.Dst.String(), via, orDash(r.Link), r.For, state}
	}
	return printTable(w, []string{"DESTINATION", "VIA", "LINK", "FOR", "STATE"}, rows)
}
