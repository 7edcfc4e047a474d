package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"hexapod.dev/agent/local"
	kobjects "hexapod.dev/edge/kube/objects"
)

const endpointsUsage = "[-A [--kubeconfig FILE]] [-o table|json] [--run DIR]"

func runEndpoints(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists the endpoints of this host, with the address, the identity and the link of each; with -A the pods of a whole cluster.")
	all := q.Bool("A", false, "of all hosts of a Kubernetes cluster, as its API server tells")
	kubeconfig := q.String("kubeconfig", os.Getenv("KUBECONFIG"), "`FILE` with -A: how to reach the API server; none: the service account of the pod")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	if *all {
		client, err := kobjects.Connect(*kubeconfig, "hexapod/"+version)
		if err != nil {
			return err
		}
		list, err := allEndpoints(ctx, client)
		if err != nil {
			return err
		}
		return printAllEndpoints(env.stdout, *q.output, list)
	}
	endpoints, err := local.NewClient(*q.run).Endpoints(ctx)
	if err != nil {
		return err
	}
	return printEndpoints(env.stdout, *q.output, endpoints)
}

func printEndpoints(w io.Writer, f format, endpoints []local.Endpoint) error {
	if f == formatJSON {
		return printJSON(w, endpoints)
	}
	rows := make([][]string, len(endpoints))
	for i, e := range endpoints {
		state := string(e.State)
		if e.Why != "" {
			state += ": " + e.Why
		}
		rows[i] = []string{joinAddrs(e.Addrs), orDash(strings.Trim(e.Namespace+"/"+e.Name, "/")), fmt.Sprintf("0x%04x", e.Identity),
			e.Container + "/" + e.Interface, e.Link, state}
	}
	return printTable(w, []string{"ADDRESS", "ENDPOINT", "IDENTITY", "CONTAINER", "LINK", "STATE"}, rows)
}

func joinAddrs(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return orDash(strings.Join(words, ","))
}
