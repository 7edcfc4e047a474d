package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/nat64"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

const nat64About = "Shows what this host translates between IPv6 and IPv4 (NAT64)."

func nat64Verbs() []command {
	return []command{
		{name: "show", summary: "bindings, quotas, top talkers and what became of packets", usage: nat64Usage, run: runNAT64},
		{name: "sessions", summary: "list bindings: which endpoint has which port of the pool", usage: nat64Usage, run: runNAT64Sessions},
		{name: "blocks", summary: "list the blocks of ports that endpoints have", usage: nat64Usage, run: runNAT64Blocks},
		{name: "who", summary: "tell which endpoint had a port of the pool", usage: "IPV4:PORT [--at TIME] [--run DIR] [-o table|json]", run: runNAT64Who},
	}
}

const nat64Usage = "[-n COUNT] [--run DIR] [-o table|json]"

// nat64Query is a query with a bound on what it lists.
func nat64Query(env environment, about string, args []string) (q query, n int, help bool, err error) {
	q = newQuery(env, about)
	q.IntVar(&n, "n", 20, "`COUNT` of what is listed at most")
	help, err = q.parse(args)
	if err == nil && n < 1 {
		err = usagef("-n %d: want at least 1", n)
	}
	return q, n, help, err
}

func runNAT64(ctx context.Context, env environment, args []string) error {
	q, n, help, err := nat64Query(env, "Shows how many bindings there are, which endpoints have most of them, and what became of packets.", args)
	if help || err != nil {
		return err
	}
	client := local.NewClient(*q.run)
	u, err := client.NAT64Upstream(ctx)
	if err != nil {
		return err
	}
	if u.Translation != "" {
		return printUpstream(env.stdout, *q.output, u)
	}
	s, err := client.NAT64(ctx, n)
	if err != nil {
		return err
	}
	return printNAT64(env.stdout, *q.output, s)
}

// printUpstream tells of a NAT64 that others run: what was found, by whom, for how long, and why something is not used.
func printUpstream(w io.Writer, f format, u local.Upstream) error {
	if f == formatJSON {
		return printJSON(w, u)
	}
	fmt.Fprintf(w, "uses the NAT64 of the network outside, as Translation %s says\n", u.Translation)
	if u.Why != "" {
		fmt.Fprintf(w, "NONE IS USED: %s\n", u.Why)
	}
	if u.Problem != "" {
		fmt.Fprintf(w, "PROBLEM %s\n", u.Problem)
	}
	if len(u.Links) > 0 {
		fmt.Fprintf(w, "routers are listened to on: %s\n", strings.Join(u.Links, " "))
	}
	var rows [][]string
	for _, p := range u.Prefixes {
		left := "for ever"
		if p.From != "" {
			left = (time.Duration(p.Left) * time.Second).String()
		}
		rows = append(rows, []string{p.Prefix.String(), p.Source, orDash(p.From), left, map[bool]string{true: "used", false: "no: " + p.Why}[p.Used]})
	}
	if err := printTable(w, []string{"PREFIX", "SOURCE", "FROM", "LEFT", "USED"}, rows); err != nil || len(u.Resolvers) == 0 {
		return err
	}
	rows = nil
	for _, r := range u.Resolvers {
		rows = append(rows, []string{r.Server, r.Said, (time.Duration(r.Next) * time.Second).String()})
	}
	fmt.Fprintln(w)
	return printTable(w, []string{"RESOLVER", "SAID", "ASKED AGAIN IN"}, rows)
}

func printNAT64(w io.Writer, f format, s nat64.Status) error {
	if f == formatJSON {
		return printJSON(w, s)
	}
	fmt.Fprintf(w, "prefixes %v, bindings %d of %d, TCP sessions %d, free blocks %d, endpoints at 80 %% of their quota %d\n",
		s.Prefixes, s.Bindings, s.Most, s.Sessions, s.Free, s.Near)
	fmt.Fprintf(w, "flows translated in the kernel %d, that found no place there %d\n", s.Fast, s.Slow)
	if s.Problem != "" {
		fmt.Fprintf(w, "PROBLEM %s\n", s.Problem)
	}
	var rows [][]string
	for i, by := range []map[string]uint64{s.Counts.To4, s.Counts.To6} {
		for why, count := range by {
			rows = append(rows, []string{"to IPv" + strconv.Itoa(4+2*i), why, strconv.FormatUint(count, 10)})
		}
	}
	for why, count := range s.Counts.Refused {
		rows = append(rows, []string{"refused", why, strconv.FormatUint(count, 10)})
	}
	slices.SortFunc(rows, slices.Compare[[]string])
	if err := printTable(w, []string{"PACKETS", "WHAT BECAME", "COUNT"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, e := range s.Endpoints {
		share := int(max(e.TCP, e.UDP, e.ICMP)) * 100 / max(s.Quota, 1)
		rows = append(rows, []string{e.Addr.String(), fmt.Sprint(e.TCP), fmt.Sprint(e.UDP), fmt.Sprint(e.ICMP), strconv.Itoa(share) + "%"})
	}
	fmt.Fprintln(w)
	if err := printTable(w, []string{"ENDPOINT", "TCP", "UDP", "ICMP", "OF QUOTA"}, rows); err != nil || s.Together == nil {
		return err
	}
	return printGateways(w, *s.Together)
}

// printGateways tells who translates with this host, and whose the addresses of the pool are.
func printGateways(w io.Writer, g nat64.Together) error {
	fmt.Fprintf(w, "\ngateways that translate: %s; addresses that are this one's %d, bindings kept for others %d, taken over %d, still to be told %d, packets handed to others %d\n",
		strings.Join(g.Living, " "), g.Owns, g.Kept, g.Adopted, g.Untold, g.Handed)
	fmt.Fprintf(w, "what gateways tell each other is %s\n", g.Words)
	var rows [][]string
	for _, why := range slices.Sorted(maps.Keys(g.Doubted)) {
		fmt.Fprintf(w, "not believed: %s, %d\n", why, g.Doubted[why])
	}
	for _, a := range g.Addrs {
		rows = append(rows, []string{a.Addr.String(), cmp.Or(a.Owner, "-"), cmp.Or(a.Heir, "-")})
	}
	return printTable(w, []string{"ADDRESS", "OWNER", "GOES ON WITHOUT IT"}, rows)
}

func runNAT64Sessions(ctx context.Context, env environment, args []string) error {
	q, n, help, err := nat64Query(env, "Lists bindings: the end of an endpoint, and the port of the pool by which servers see it.", args)
	if help || err != nil {
		return err
	}
	list, err := local.NewClient(*q.run).NAT64Bindings(ctx, n)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, list)
	}
	var rows [][]string
	for _, e := range list {
		rows = append(rows, []string{protocolName(e.Protocol), e.Endpoint.String(), e.Pool.String(), bindingLife(e)})
	}
	slices.SortFunc(rows, slices.Compare[[]string])
	return printTable(env.stdout, []string{"PROTOCOL", "ENDPOINT", "POOL", "LIVES"}, rows)
}

func bindingLife(e xnat64.Entry) string {
	if e.Sessions > 0 {
		return fmt.Sprintf("%d sessions", e.Sessions)
	}
	return (time.Duration(e.Left) * time.Second).String()
}

func protocolName(p uint8) string {
	switch p {
	case 1:
		return "ICMP"
	case 6:
		return "TCP"
	case 17:
		return "UDP"
	}
	return strconv.Itoa(int(p))
}

func runNAT64Blocks(ctx context.Context, env environment, args []string) error {
	q, n, help, err := nat64Query(env, "Lists the blocks of ports that endpoints have, and for how long.", args)
	if help || err != nil {
		return err
	}
	s, err := local.NewClient(*q.run).NAT64(ctx, n)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, s.Blocks)
	}
	var rows [][]string
	for _, b := range s.Blocks {
		rows = append(rows, []string{b.Block, b.Endpoint.String(), (time.Duration(b.Seconds) * time.Second).String()})
	}
	return printTable(env.stdout, []string{"BLOCK", "ENDPOINT", "FOR"}, rows)
}

func runNAT64Who(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Tells which endpoint had a port of an IPv4 address of the pool, from this host's log of grants: its own, and those that other gateways told it.")
	text := q.String("at", "", "`TIME` like 2026-01-31T12:00:00Z; left out: now")
	if help, err := q.parse(args, "IPV4:PORT"); help || err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(q.words[0])
	if err != nil || !addr.Addr().Is4() {
		return usagef("%s: want an IPv4 address and a port, like 192.0.2.1:2048", q.words[0])
	}
	var at time.Time
	if *text != "" {
		if at, err = time.Parse(time.RFC3339, *text); err != nil {
			return usagef("--at %s: want a time like 2026-01-31T12:00:00Z", *text)
		}
	}
	h, err := local.NewClient(*q.run).NAT64Who(ctx, addr, at)
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, h)
	}
	to := "now"
	if !h.To.IsZero() {
		to = h.To.Format(time.RFC3339)
	}
	return printTable(env.stdout, []string{"ENDPOINT", "BLOCK", "FROM", "TO", "BY"},
		[][]string{{h.Endpoint.String(), h.Block, h.From.Format(time.RFC3339), to, cmp.Or(h.Gateway, "this host")}})
}
