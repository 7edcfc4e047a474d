package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
	kobjects "hexapod.dev/edge/kube/objects"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
)

// clusterEndpoint is one pod of a cluster, in the words of this program.
type clusterEndpoint struct {
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	Host      string       `json:"host"`
	Addrs     []netip.Addr `json:"addrs"`
	Identity  uint32       `json:"identity"`
	State     string       `json:"state"`
}

// allEndpoints asks the API server for the pods of a cluster, those of the network of their host left out.
func allEndpoints(ctx context.Context, c *kobjects.Client) ([]clusterEndpoint, error) {
	pods, _, err := kobjects.In(c, kobjects.Pods()).Where("spec.hostNetwork=false", "").List(ctx)
	if err != nil {
		return nil, err
	}
	number, err := numbers(ctx, c)
	if err != nil {
		return nil, err
	}
	list := make([]clusterEndpoint, 0, len(pods))
	for _, p := range pods {
		e := clusterEndpoint{Namespace: p.Metadata.Namespace, Name: p.ObjectName(), Host: p.Spec.NodeName, State: p.Status.Phase, Addrs: []netip.Addr{}}
		e.Identity = number(identity.Set{Namespace: e.Namespace, Labels: p.Metadata.Labels})
		for _, ip := range p.Status.PodIPs {
			if a, err := netip.ParseAddr(ip.IP); err == nil {
				e.Addrs = append(e.Addrs, a)
			}
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b clusterEndpoint) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// numbers returns the function that gives a set of labels its number; 0 has none yet. Without a plan nothing has one.
func numbers(ctx context.Context, c *kobjects.Client) (func(identity.Set) uint32, error) {
	plans, _, err := kobjects.In(c, kobjects.AddressPlans()).List(ctx)
	if err != nil {
		return nil, err
	}
	if len(plans) == 0 {
		return func(identity.Set) uint32 { return 0 }, nil
	}
	numbered, _, err := kobjects.In(c, kobjects.Identities()).List(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range plans {
		v1alpha1.Validate(o) // fills what was left out; what is wrong with it, the controller says
	}
	table, problems := objects.Identities(v1alpha1.Set{Plan: plans[0], Identities: numbered})
	if table == nil {
		return nil, problems
	}
	return func(s identity.Set) uint32 {
		n, _ := table.Number(s)
		return uint32(n)
	}, nil
}

func printAllEndpoints(w io.Writer, f format, list []clusterEndpoint) error {
	if f == formatJSON {
		return printJSON(w, list)
	}
	rows := make([][]string, len(list))
	for i, e := range list {
		rows[i] = []string{e.Namespace, e.Name, joinAddrs(e.Addrs), fmt.Sprintf("0x%04x", e.Identity), orDash(e.Host), strings.ToLower(e.State)}
	}
	return printTable(w, []string{"NAMESPACE", "POD", "ADDRESS", "IDENTITY", "HOST", "STATE"}, rows)
}
