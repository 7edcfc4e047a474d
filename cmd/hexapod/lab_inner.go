package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
)

// runLabHold is the process that keeps one machine of a lab; the lab starts it in namespaces of its own.
func runLabHold(ctx context.Context, _ environment, args []string) error {
	if len(args) > 0 {
		return usagef("hold: takes no arguments")
	}
	return lab.Hold(ctx, os.Stdin, os.Stdout)
}

// runLabProbe is ping, a web client and a web server for machines and endpoints of a lab, which may have no such programs.
func runLabProbe(ctx context.Context, env environment, args []string) error {
	if len(args) < 2 {
		return usagef("probe: want ping ADDR [-c N] [-i INTERVAL], get ADDR or serve NAME")
	}
	word := args[1]
	c := newLabCall("probe "+args[0], env.stdout)
	count := c.flags.Int("c", 5, "echo requests to send")
	interval := c.flags.Duration("i", 200*time.Millisecond, "time between echo requests")
	if help, err := c.parse(args[2:], 0, 0); help || err != nil {
		return err
	}
	if args[0] == "serve" {
		l, err := probe.Listen(probe.Here, probe.Port)
		if err != nil {
			return err
		}
		return probe.Serve(ctx, l, word)
	}
	dst, err := netip.ParseAddr(word)
	if err != nil {
		return usagef("probe %s: %q is not an address", args[0], word)
	}
	switch args[0] {
	case "ping":
		return probePing(ctx, env, probe.Stream{Dst: dst, Count: *count, Interval: *interval, Patience: 2 * time.Second})
	case "get":
		a, err := probe.Get(ctx, probe.Here, netip.AddrPortFrom(dst, probe.Port))
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s saw %s\n", a.Name, a.Client)
		return nil
	}
	return usagef("probe: no probe %q", args[0])
}

func probePing(ctx context.Context, env environment, s probe.Stream) error {
	p, err := probe.NewPinger(probe.Here)
	if err != nil {
		return err
	}
	defer p.Close()
	s.Each = func(r probe.Reply) {
		fmt.Fprintf(env.stdout, "%s: hop limit %d, %v\n", r.From, r.HopLimit, r.RTT.Round(time.Microsecond))
	}
	t, err := s.Run(ctx, p)
	fmt.Fprintln(env.stdout, t)
	if err == nil && t.Lost > 0 {
		err = fmt.Errorf("ping %s: %d of %d lost", s.Dst, t.Lost, t.Sent)
	}
	return err
}
