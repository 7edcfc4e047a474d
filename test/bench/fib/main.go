// Command fib measures how fast routes get into the kernel: the writer of learned routes beside the kernel's own speed and
// iproute2, a whole resync beside routes of others, and a feed from a BGP router beside FRR and BIRD.
//
// Systems are measured in turn (A B A B), each in a network namespace of its own. `writer` adds routes by one group of next
// hops to an empty table: `hexapod` through linux/route, `floor of S x B` by messages that were made before and go out through
// S sockets, B at a time, which is the most that any program can do on this kernel, and `iproute2` by `ip -batch`. `resync` compares a
// full table that lies between as many routes of others with what is wanted, once when nothing is missing and once when
// everything is. `feed` is the time from the first UPDATE on the wire to the last route in the kernel, and back; the sender
// is BIRD in each case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"hexapod.dev/test/bench/leftover"
	"hexapod.dev/test/paired"
)

// options is the size of a run.
type options struct {
	pairs   int    // rounds of the writer and of resyncs
	feeds   int    // rounds of each feed
	routes  int    // of the writer and of resyncs
	results string // file
	bin     string // folder with hexapod
	version string // of what is measured
}

func main() {
	var o options
	flag.IntVar(&o.pairs, "pairs", paired.FewestPairs, "rounds of the writer and of resyncs, at least 15 for a figure")
	flag.IntVar(&o.feeds, "feeds", 5, "rounds of each feed")
	flag.IntVar(&o.routes, "routes", 100_000, "routes of the writer and of resyncs")
	flag.StringVar(&o.results, "results", "fib.json", "file for rounds and figures")
	flag.StringVar(&o.bin, "bin", "bin", "folder with hexapod (see run.sh)")
	flag.StringVar(&o.version, "version", "unknown", "version of what is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench fib:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	b := &bed{o: o}
	defer func() { err = errors.Join(err, b.close()) }()
	if b.folder, err = os.MkdirTemp("", "hxbench"); err != nil {
		return err
	}
	b.undo = append(b.undo, func() error { return leftover.Remove(b.folder) })
	// The daemons of FRR give up root and look for their files as somebody else.
	if err := os.Chmod(b.folder, 0o755); err != nil {
		return err
	}
	r := &report{Machine: paired.This(o.version), Load: paired.Load(), Routes: o.routes}
	for _, part := range []func(context.Context, *report) error{b.writer, b.resync, b.feed} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	r.figures()
	r.print(os.Stdout)
	return r.write(o.results)
}
