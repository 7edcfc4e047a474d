// Command dns measures the DNS64 of a host beside that of unbound: questions per second of one core, and memory.
//
// Both servers run all the time, each kept on the first processor; clients and the servers' upstream are kept off it. They are asked in turn
// (A B A B). What counts is the questions answered per second of the server's own processor time, so that a busy machine does not blur it.
// `cached` asks for AAAA records of names with IPv4 alone that the server remembers, `fresh` for names it has never heard of, which cost two
// questions to the upstream each. `memory` is what a server holds resident after it answered for a number of names.
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

	"hexapod.dev/test/paired"
)

// options is the size of a run.
type options struct {
	pairs   int
	cached  int // questions of a round
	fresh   int
	names   int // for memory
	results string
	bin     string
	version string
}

func main() {
	var o options
	flag.IntVar(&o.pairs, "pairs", paired.FewestPairs, "rounds of each system, at least 15 for a figure")
	flag.IntVar(&o.cached, "cached", 100_000, "questions of a round for names that are remembered")
	flag.IntVar(&o.fresh, "fresh", 10_000, "questions of a round for names that are not")
	flag.IntVar(&o.names, "names", 100_000, "names that are remembered when memory is measured")
	flag.StringVar(&o.results, "results", "dns.json", "file for rounds and figures")
	flag.StringVar(&o.bin, "bin", "bin", "folder with hexapod (see run.sh)")
	flag.StringVar(&o.version, "version", "unknown", "version of what is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench dns:", err)
		os.Exit(1)
	}
}

// Kinds of rounds.
const (
	cached = "cached"
	fresh  = "fresh"
	memory = "memory"
)

// known is how many names a cached round asks for.
const known = 1000

func run(ctx context.Context, o options) (err error) {
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	b := &bed{bin: o.bin}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(); err != nil {
		return err
	}
	r := &report{Machine: paired.This(o.version), Load: paired.Load(), Names: o.names}
	systems := []*system{b.hexapod, b.unbound}
	next := 0 // every fresh name is asked for once
	for _, s := range systems {
		if _, err := s.ask(ctx, known, func(i int) int { return i }); err != nil { // so that they are remembered
			return err
		}
	}
	for pair := range o.pairs {
		for _, kind := range []string{cached, fresh} {
			for _, i := range paired.Turns(len(systems), pair) {
				s := systems[i]
				n, name := o.cached, func(i int) int { return i % known }
				if kind == fresh {
					first := known + next
					n, name = o.fresh, func(i int) int { return first + i }
					next += n
				}
				one, err := s.ask(ctx, n, name)
				if err != nil {
					return err
				}
				one.Kind, one.System, one.Pair = kind, s.name, pair
				r.Rounds = append(r.Rounds, one)
			}
		}
	}
	for _, s := range systems {
		first := known + next
		next += o.names
		one, err := s.ask(ctx, o.names, func(i int) int { return first + i })
		if err != nil {
			return err
		}
		if one.Resident, err = s.resident(); err != nil {
			return err
		}
		one.Kind, one.System = memory, s.name
		r.Rounds = append(r.Rounds, one)
	}
	r.figures()
	r.print(os.Stdout)
	return r.write(o.results)
}
