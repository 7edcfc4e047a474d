// Command datapath measures what the programs of the datapath cost and win beside plain routing over the same links.
//
// Each system has two hosts of its own, namespaces that a veth pair joins, with two endpoints on the first and one on the second:
// `routed` is the kernel's forwarding, `conntrack` the same with nftables rules that follow connections, `hexapod` the programs with
// anti-spoofing and the flow table, `big` those with super-packets of 256 KB. `services` has the programs and 10,000 services to which sockets
// are led, `kube-proxy` plain routing and the rules that kube-proxy writes for as many. The systems do the same work in turn, in slices of a
// fixed CPU time. What counts is work per second of CPU time, of client, server and ksoftirqd together; client and server share one
// CPU, so that the whole path of a packet is in it, and that other load on the machine matters little.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"hexapod.dev/test/bench/work"
)

// options are the size of a run, what is compared, and the file for rounds and figures.
type options struct {
	work.Options
	set     string
	results string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == work.Verb {
		if err := work.Worker(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench datapath worker:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.Pairs, "pairs", work.Pairs, "rounds, at least 15 for a figure")
	kind := flag.String("kind", ".", "measure the kinds whose name matches, for a look: a result has all")
	flag.StringVar(&o.set, "set", "paths", "what is compared: paths, ours beside the kernel's; policy, ours with policies and without")
	flag.DurationVar(&o.Slice, "slice", 250*time.Millisecond, "CPU time of one measurement")
	flag.IntVar(&o.CPU, "cpu", 1, "the CPU that client and server share")
	flag.StringVar(&o.results, "results", "datapath.json", "file for rounds and figures")
	flag.StringVar(&o.Version, "version", "unknown", "version of what is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, *kind); err != nil {
		fmt.Fprintln(os.Stderr, "bench datapath:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, kind string) (err error) {
	if o.Kinds, err = regexp.Compile(kind); err != nil {
		return err
	}
	beds := map[string]*bed{}
	defer func() {
		for _, b := range beds {
			err = errors.Join(err, b.close())
		}
	}()
	if len(systems[o.set]) == 0 {
		return fmt.Errorf("there is no set %q of systems: paths, policy", o.set)
	}
	for _, s := range systems[o.set] {
		b, err := newBed(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		beds[s.name] = b
	}
	r, err := work.Measure(ctx, o.Options, marks[o.set], func(name, way string) work.System { return beds[name].on(way) })
	if err != nil {
		return err
	}
	r.Print(os.Stdout)
	return r.Write(o.results)
}

// Ways between client and server.
const (
	across    = "across" // hosts
	local     = "same host"
	toService = "to a service" // or to its backend, where there is none
)

// marks are what is compared, and what has to be reached.
var marks = map[string][]work.Mark{"policy": {
	// Established flows cost at most 1.05 times what they cost without policies, new ones 1.15 times that with 10.
	{Kind: "request-response", Way: across, Of: "10000", Over: "none", Mark: 1 / 1.05},
	{Kind: "udp 64 bytes", Way: across, Of: "10000", Over: "none", Mark: 1 / 1.05},
	{Kind: "connections", Way: across, Of: "10000", Over: "10", Mark: 1 / 1.15},
	{Kind: "connections", Way: across, Of: "10000", Over: "none"},
}, "paths": {
	{Kind: "request-response", Way: across, Of: "hexapod", Over: "routed", Mark: 1.05},
	{Kind: "udp 64 bytes", Way: across, Of: "hexapod", Over: "routed", Mark: 1.10},
	{Kind: "connections", Way: across, Of: "hexapod", Over: "routed", Mark: 0.97},
	{Kind: "connections", Way: across, Of: "hexapod", Over: "conntrack", Mark: 1.12},
	{Kind: "request-response", Way: local, Of: "hexapod", Over: "routed", Mark: 1.02},
	{Kind: "one stream", Way: across, Of: "big", Over: "routed", Mark: 2.2},
	{Kind: "connections", Way: toService, Of: "services", Over: "kube-proxy", Mark: 1.2},
	{Kind: "connections", Way: toService, Of: "services", Over: "hexapod", Mark: 0.92},
	{Kind: "udp 64 bytes", Way: local, Of: "hexapod", Over: "routed"},
	{Kind: "connections", Way: local, Of: "hexapod", Over: "routed"},
	{Kind: "one stream", Way: across, Of: "hexapod", Over: "routed"},
	{Kind: "one stream", Way: local, Of: "big", Over: "routed"},
	{Kind: "request-response", Way: across, Of: "hexapod", Over: "conntrack"},
	{Kind: "request-response", Way: across, Of: "big", Over: "routed"},
}}
