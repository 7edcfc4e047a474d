package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/router"
)

// runLabHold is the process that keeps one machine of a lab; the lab starts it in namespaces of its own.
func runLabHold(ctx context.Context, _ environment, args []string) error {
	if len(args) > 0 {
		return usagef("takes no words, got %q", args[0])
	}
	return lab.Hold(ctx, os.Stdin, os.Stdout)
}

// runLabRouter is a router of a lab that speaks Hexapod's own BGP; the lab starts it.
func runLabRouter(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, "Routes as FILE says, a router of a lab in JSON. SIGHUP reads it again.")
	run := f.runDir()
	if help, err := f.parse(args, "FILE"); help || err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	return router.Run(ctx, router.Options{File: f.words[0], RunDir: *run, Reload: reload, Log: slog.New(slog.NewTextHandler(env.stderr, nil))})
}

const labProbeAbout = `Asks a network from inside: ping, a web client and a web server for machines and endpoints of a lab, which may have no such programs.`

func labProbes() []command {
	return []command{
		{name: "ping", summary: "send echo requests", usage: "[-c N] [-i DURATION] ADDRESS", run: runProbePing},
		{name: "get", summary: "ask a server by HTTP who it is and whom it saw", usage: "ADDRESS", run: runProbeGet},
		{name: "serve", summary: "answer such questions", usage: "[--port PORT] [--ipv4 [--name NAME=ADDRESS]] NAME", run: runProbeServe},
	}
}

func runProbePing(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, "Sends echo requests and prints each answer. Exits with 1 if one is lost.")
	count := f.Int("c", 5, "`N` echo requests to send")
	interval := f.Duration("i", 200*time.Millisecond, "`DURATION` between echo requests")
	if help, err := f.parse(args, "ADDRESS"); help || err != nil {
		return err
	}
	dst, err := netip.ParseAddr(f.words[0])
	if err != nil {
		return usagef("%q is not an address", f.words[0])
	}
	return probePing(ctx, env, probe.Stream{Dst: dst, Count: *count, Interval: *interval, Patience: 2 * time.Second})
}

func runProbeGet(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, "Asks the server at an address who it is and whom it saw.")
	if help, err := f.parse(args, "ADDRESS"); help || err != nil {
		return err
	}
	dst, err := netip.ParseAddr(f.words[0])
	if err != nil {
		return usagef("%q is not an address", f.words[0])
	}
	a, err := probe.Get(ctx, probe.Here, netip.AddrPortFrom(dst, probe.Port))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "%s saw %s\n", a.Name, a.Client)
	return err
}

func runProbeServe(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, "Answers by HTTP with NAME and the address of who asks.")
	port := f.Uint("port", probe.Port, "`PORT` to answer on")
	four := f.Bool("ipv4", false, "answer on IPv4 alone")
	named := f.String("name", "", "with --ipv4: also answer DNS questions, `NAME=ADDRESS` being the one name there is")
	if help, err := f.parse(args, "NAME"); help || err != nil {
		return err
	}
	if *named != "" {
		name, text, _ := strings.Cut(*named, "=")
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Is4() || !*four {
			return usagef("--name %q: want NAME=ADDRESS with an IPv4 address, and --ipv4", *named)
		}
		return probe.ServeIPv4(ctx, f.words[0], name, addr)
	}
	if *port == 0 || *port > 65535 {
		return usagef("--port %d: want 1 to 65535", *port)
	}
	listen := probe.Listen
	if *four {
		listen = probe.ListenIPv4
	}
	l, err := listen(probe.Here, uint16(*port))
	if err != nil {
		return err
	}
	return probe.Serve(ctx, l, f.words[0])
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
