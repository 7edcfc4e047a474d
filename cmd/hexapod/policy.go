package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"

	"hexapod.dev/agent/local"
)

const policyAbout = `Tells which flows the policies of this host let begin, and by which rule.`

const (
	explainUsage = "[--proto tcp|udp|sctp|icmp] [-o table|json] [--run DIR] SRC DST:PORT"
	showUsage    = "[-o table|json] [--run DIR] ENDPOINT"
)

func policyVerbs() []command {
	return []command{
		{name: "explain", summary: "tell whether a flow may begin, and which rule says so", usage: explainUsage, run: runPolicyExplain},
		{name: "show", summary: "list the rules of an endpoint in the order in which they are asked", usage: showUsage, run: runPolicyShow},
	}
}

func runPolicyExplain(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Tells whether a flow from SRC to DST may begin, by the policies of each end that is an endpoint of this host, and whether the kernel\n"+
		"says the same. An end is an address, or NAMESPACE/NAME or CONTAINER/INTERFACE of an endpoint here; write [ADDRESS]:PORT. Exits with 1 if the flow is denied.")
	protocol := q.String("proto", "tcp", "`tcp|udp|sctp|icmp` what the flow is; with icmp there is no port")
	if help, err := q.parse(args, "SRC", "DST:PORT"); help || err != nil {
		return err
	}
	var err error
	question := local.PolicyQuestion{From: q.words[0], To: q.words[1]}
	if question.Protocol, err = local.ParseProtocol(*protocol); err != nil {
		return usageError{err}
	}
	if *protocol != "icmp" {
		host, port, err := net.SplitHostPort(q.words[1])
		if err != nil {
			return usagef("%q: want DST:PORT, an address in brackets", q.words[1])
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return usagef("port %q: want 0 to 65535", port)
		}
		question.To, question.Port = host, uint16(n)
	}
	a, err := local.NewClient(*q.run).ExplainPolicy(ctx, question)
	if err != nil {
		return err
	}
	if err := printPolicyAnswer(env.stdout, *q.output, a); err != nil {
		return err
	}
	if !a.Accepted {
		return fmt.Errorf("denied")
	}
	return nil
}

func printPolicyAnswer(w io.Writer, f format, a local.PolicyAnswer) error {
	if f == formatJSON {
		return printJSON(w, a)
	}
	var rows [][]string
	for _, p := range []struct {
		end string
		is  local.PolicyParty
	}{{"from", a.From}, {"to", a.To}} {
		rows = append(rows, []string{p.end, p.is.Address.String(), fmt.Sprintf("0x%04x", p.is.Identity), p.is.By, orDash(p.is.Set)})
	}
	if err := printTable(w, []string{"END", "ADDRESS", "IDENTITY", "KNOWN BY", "WHO"}, rows); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	rows = nil
	for _, v := range a.Verdicts {
		rows = append(rows, []string{v.Direction, v.Endpoint.String(), v.Action, v.Rule, orDash(v.Written), v.Kernel})
	}
	return printTable(w, []string{"DIRECTION", "ENDPOINT", "VERDICT", "RULE", "WRITTEN", "KERNEL"}, rows)
}

func runPolicyShow(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Lists the rules of an endpoint of this host in the order in which they are asked; the first that matches decides.\n"+
		"ENDPOINT is its address, NAMESPACE/NAME or CONTAINER/INTERFACE.")
	if help, err := q.parse(args, "ENDPOINT"); help || err != nil {
		return err
	}
	t, err := local.NewClient(*q.run).ShowPolicy(ctx, q.words[0])
	if err != nil {
		return err
	}
	if *q.output == formatJSON {
		return printJSON(env.stdout, t)
	}
	_, err = fmt.Fprintf(env.stdout, "endpoint %s, %s, identity 0x%04x %s\n\n", t.Endpoint, t.Party.Address, t.Party.Identity, t.Party.Set)
	if err != nil {
		return err
	}
	rows := make([][]string, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = []string{r.Direction, strconv.Itoa(r.Row), r.Action, r.Peers, r.Ports, r.Rule, orDash(r.Written)}
	}
	return printTable(env.stdout, []string{"DIRECTION", "ROW", "ACTION", "PEERS", "PORTS", "RULE", "WRITTEN"}, rows)
}
