package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"hexapod.dev/agent/local"
)

const dnsAbout = `Shows how this host answers the lookups of its endpoints, and why an answer is as it is.`

const dnsLookupUsage = "[--run DIR] [-o table|json] [--type TYPE] [--client six-only|capable|ADDRESS] NAME"

func dnsVerbs() []command {
	return []command{
		{name: "status", summary: "show how the DNS server of this host and the servers it asks do", usage: queryUsage, run: runDNSStatus},
		{name: "lookup", summary: "look a name up: what was asked, what was made of it, and why", usage: dnsLookupUsage, run: runDNSLookup},
	}
}

func runDNSStatus(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Shows how the DNS server of this host does, and the servers it asks.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	d, err := local.NewClient(*q.run).DNS(ctx)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, d)
	}
	return printDNS(env.stdout, d)
}

func printDNS(w io.Writer, d local.DNS) error {
	s := d.Server
	state := fmt.Sprintf("child %d, started %d times", d.PID, d.Starts)
	if d.Why != "" {
		state = d.Why
	}
	fmt.Fprintf(w, "answers at    %s (%s)\n", d.At, state)
	fmt.Fprintf(w, "cluster's DNS %s\n", map[bool]string{true: "clients are led here", false: "clients are not led here"}[d.Leads])
	fmt.Fprintf(w, "questions     %d, %d of them remembered; %d from strangers, %d malformed, %d too many\n", s.Queries, s.Hits, s.Strangers, s.Malformed, s.Overload)
	fmt.Fprintf(w, "memory        %d answers, %d of %d KiB\n\n", s.CacheEntries, s.CacheBytes>>10, s.CacheLimit>>10)
	var rows [][]string
	for _, u := range s.Upstreams {
		rows = append(rows, []string{u.Zone, u.Server, fmt.Sprint(u.Sent), fmt.Sprint(u.Failed), map[bool]string{true: "down", false: "up"}[u.Down], orDash(u.Why)})
	}
	return printTable(w, []string{"ZONE", "SERVER", "ASKED", "FAILED", "STATE", "LAST FAILURE"}, rows)
}

func runDNSLookup(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Looks a name up as an endpoint of this host does: which servers were asked, what was made of their answers, and why.")
	typ := q.String("type", "AAAA", "`TYPE` of the records")
	client := q.String("client", "six-only", "`six-only|capable|ADDRESS`: whether the client has IPv4 of its own, or which endpoint it is")
	if help, err := q.parse(args, "NAME"); help || err != nil {
		return err
	}
	l, err := local.NewClient(*q.run).DNSLookup(ctx, q.words[0], *typ, *client)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, l)
	}
	return printLookup(env.stdout, l)
}

func printLookup(w io.Writer, l local.Lookup) error {
	for _, a := range l.Asked {
		fmt.Fprintf(w, "asked %s for %s %s: %s after %v\n", a.From, a.Name, a.Type, a.Rcode, a.Took.Round(10*time.Microsecond))
		for _, r := range a.Answer {
			fmt.Fprintf(w, "  %s\n", r)
		}
		if a.Failure != "" {
			fmt.Fprintf(w, "  %s\n", a.Failure)
		}
	}
	fmt.Fprintf(w, "answer %s\n", l.Rcode)
	for _, r := range l.Answer {
		fmt.Fprintf(w, "  %s\n", r)
	}
	if l.Extra != "" {
		fmt.Fprintf(w, "extended error: %s\n", l.Extra)
	}
	if l.Upstream != nil {
		printCarriers(w, *l.Upstream)
	}
	_, err := fmt.Fprintf(w, "why: %s\n", l.Why)
	return err
}

// printCarriers tells where the prefixes come from that addresses are made with.
func printCarriers(w io.Writer, u local.Upstream) {
	if u.Why != "" {
		fmt.Fprintf(w, "NAT64 of the network outside: none, %s\n", u.Why)
	}
	for _, p := range u.Prefixes {
		switch {
		case p.Used && p.From != "":
			fmt.Fprintf(w, "NAT64 of the network outside: %s by %s of %s, %v left\n", p.Prefix, p.Source, p.From, time.Duration(p.Left)*time.Second)
		case p.Used:
			fmt.Fprintf(w, "NAT64 of the network outside: %s, as it was written\n", p.Prefix)
		}
	}
}
