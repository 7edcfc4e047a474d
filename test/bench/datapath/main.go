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

	"hexapod.dev/test/paired"
)

// options is the size of a run.
type options struct {
	pairs   int
	kind    string // pattern
	set     string // of systems
	slice   time.Duration
	cpu     int
	results string
	version string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == workerVerb {
		if err := work(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench datapath worker:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.pairs, "pairs", paired.FewestPairs, "rounds, at least 15 for a figure")
	flag.StringVar(&o.kind, "kind", ".", "measure the kinds whose name matches, for a look: a result has all")
	flag.StringVar(&o.set, "set", "paths", "what is compared: paths, ours beside the kernel's; policy, ours with policies and without")
	flag.DurationVar(&o.slice, "slice", 250*time.Millisecond, "CPU time of one measurement")
	flag.IntVar(&o.cpu, "cpu", 1, "the CPU that client and server share")
	flag.StringVar(&o.results, "results", "datapath.json", "file for rounds and figures")
	flag.StringVar(&o.version, "version", "unknown", "version of what is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench datapath:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	r := &report{Machine: paired.This(o.version), Load: load(), Slice: o.slice.String()}
	var beds []*bed
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
		beds = append(beds, b)
	}
	match, err := regexp.Compile(o.kind)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if !match.MatchString(k.name) || !wanted(o.set, k.name) {
			continue
		}
		if err := measure(ctx, o, k, beds, r); err != nil {
			return err
		}
	}
	r.Ended = load()
	r.figures(o.set)
	r.print(os.Stdout)
	return r.write(o.results)
}
