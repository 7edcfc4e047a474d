package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/edge/bgp"
	"hexapod.dev/model/announce"
)

const bgpAbout = `Shows with whom this host speaks BGP, what it tells and what it is told, and why it takes or keeps what it does.`

func bgpVerbs() []command {
	return []command{
		{name: "peers", summary: "list the peers of this host and their sessions", usage: queryUsage, run: runBGPPeers},
		{name: "received", summary: "list what peers offer", usage: queryUsage, run: runBGPReceived},
		{name: "rejected", summary: "list what peers offer and this host does not take, and why", usage: queryUsage, run: runBGPRejected},
		{name: "sent", summary: "list what this host announces, and what it keeps to itself and why", usage: queryUsage, run: runBGPSent},
	}
}

func runBGPPeers(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists the peers of this host and their sessions. Exits with 1 if one is not established.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	peers, err := local.NewClient(*q.run).BGPPeers(ctx)
	if err != nil {
		return err
	}
	down := 0
	var rows [][]string
	for _, p := range peers {
		about := p.LastError
		if p.State != bgp.Established {
			down++
			about = p.Why
		}
		since := "-"
		if !p.Since.IsZero() {
			since = p.Since.UTC().Format(time.RFC3339)
		}
		addr := p.Interface
		if p.Addr.IsValid() {
			addr = p.Addr.String()
		}
		rows = append(rows, []string{p.Name, addr, fmt.Sprint(p.ASN), string(p.State), since, fmt.Sprint(p.Accepted), fmt.Sprint(p.Rejected), fmt.Sprint(p.Sent), orDash(about)})
	}
	if *q.output == formatJSON {
		err = printJSON(env.stdout, peers)
	} else {
		err = printTable(env.stdout, []string{"PEER", "ADDRESS", "AS", "STATE", "SINCE", "TAKEN", "REFUSED", "SENT", "WHY"}, rows)
	}
	if err == nil && down > 0 {
		err = fmt.Errorf("%d of %d peers are not established", down, len(peers))
	}
	return err
}

func runBGPReceived(ctx context.Context, env environment, args []string) error {
	return runBGPOffers(ctx, env, args, false, "Lists what peers offer. A line marked * is where packets go.")
}

func runBGPRejected(ctx context.Context, env environment, args []string) error {
	return runBGPOffers(ctx, env, args, true, "Lists what peers offer and this host does not take, and why.")
}

func runBGPOffers(ctx context.Context, env environment, args []string, rejected bool, about string) error {
	q := newQuery(env, about)
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	offers, err := local.NewClient(*q.run).BGPOffers(ctx, rejected)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, offers)
	}
	var rows [][]string
	for _, o := range offers {
		mark, about := "", string(o.Why)
		if o.Used {
			mark = "*"
		}
		if o.Kept && about == "" {
			about = "kept until the peer comes back"
		}
		hop := o.NextHop.Via.String()
		if o.NextHop.Link != "" {
			hop = o.NextHop.String()
		}
		rows = append(rows, []string{mark, o.Prefix.String(), o.Peer, hop, strings.Trim(fmt.Sprint(o.ASPath), "[]"), orDash(about)})
	}
	return printTable(env.stdout, []string{"", "PREFIX", "PEER", "NEXT HOP", "AS PATH", "WHY"}, rows)
}

func runBGPSent(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists what this host announces, and what it keeps to itself and why.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	sent, err := local.NewClient(*q.run).BGPSent(ctx)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, sent)
	}
	return printTable(env.stdout, []string{"PREFIX", "FOR", "WHY NOT"}, sentRows(sent.Announced, sent.Withheld))
}

func sentRows(announced []announce.Route, withheld []announce.Withheld) (rows [][]string) {
	for _, r := range announced {
		purpose := string(r.Purpose)
		if r.Leaving {
			purpose += ", leaving"
		}
		rows = append(rows, []string{r.Prefix.String(), purpose, "-"})
	}
	for _, w := range withheld {
		rows = append(rows, []string{w.Prefix.String(), "-", string(w.Why)})
	}
	return rows
}
