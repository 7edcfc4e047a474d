package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"hexapod.dev/agent/local"
)

const traceUsage = "[--proto tcp|udp|icmp] [--from-port N] [--port N] [--via LINK] [-o table|json] [--run DIR] FROM TO"

func runTrace(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Sends a described packet through the eBPF programs of this host and tells what each makes of it. Nothing is sent anywhere; a\nflow that begins is noted.")
	proto := q.String("proto", "tcp", "`tcp|udp|icmp` what the packet is: the first of a connection, a datagram, an echo request")
	fromPort := q.Uint("from-port", 40000, "`N` its source port, or the identifier of an echo")
	toPort := q.Uint("port", 80, "`N` its destination port")
	via := q.String("via", "", "`LINK` by which uplink it arrives; none: it comes from the endpoint that has FROM")
	if help, err := q.parse(args, "FROM", "TO"); help || err != nil {
		return err
	}
	const most = 1<<16 - 1
	if *fromPort > most || *toPort > most {
		return usagef("ports go from 0 to %d", most)
	}
	question := local.Question{Proto: *proto, FromPort: uint16(*fromPort), ToPort: uint16(*toPort), Via: *via}
	for i, into := range []*netip.Addr{&question.From, &question.To} {
		var err error
		if *into, err = netip.ParseAddr(q.words[i]); err != nil {
			return usagef("address %q: %v", q.words[i], err)
		}
	}
	steps, err := local.NewClient(*q.run).Trace(ctx, question)
	if err != nil {
		return err
	}
	return printSteps(env.stdout, *q.output, steps)
}

func printSteps(w io.Writer, f format, steps []local.Step) error {
	if f == formatJSON {
		return printJSON(w, steps)
	}
	rows := make([][]string, len(steps))
	for i, s := range steps {
		rows[i] = []string{fmt.Sprint(i + 1), s.Place, s.Link, s.Why, s.Fate}
	}
	return printTable(w, []string{"STEP", "PLACE", "LINK", "WHY", "FATE"}, rows)
}
