// Command nat64 measures what translation between IPv6 and IPv4 costs beside plain forwarding of IPv6, and beside tayga.
//
// Each way has a client, a gateway and a server of its own, namespaces that veth pairs join: `plain` forwards IPv6, `fast` is our translator
// with its fast path in the kernel, `slow` without, `tayga` Debian's. The ways do the same work in turn, in slices of a fixed CPU time. What counts is
// work per second of CPU time, of client, server, translator and ksoftirqd together; all share one CPU, so that the whole path of a packet is in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"hexapod.dev/test/bench/work"
)

// options are the size of a run, and the file for rounds and figures.
type options struct {
	work.Options
	results string
}

func main() {
	if len(os.Args) > 1 {
		verbs := map[string]func([]string) error{work.Verb: work.Worker, translatorVerb: translate}
		if verb, ok := verbs[os.Args[1]]; ok {
			end(verb(os.Args[2:]))
			return
		}
	}
	var o options
	flag.IntVar(&o.Pairs, "pairs", work.Pairs, "rounds, at least 15 for a figure")
	kind := flag.String("kind", ".", "measure the kinds whose name matches, for a look: a result has all")
	flag.DurationVar(&o.Slice, "slice", 250*time.Millisecond, "CPU time of one measurement")
	flag.IntVar(&o.CPU, "cpu", 1, "the CPU that all share")
	flag.StringVar(&o.results, "results", "nat64.json", "file for rounds and figures")
	flag.StringVar(&o.Version, "version", "unknown", "version of what is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	end(run(ctx, o, *kind))
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench nat64:", err)
		os.Exit(1)
	}
}

// marks are what has to be reached.
var marks = []work.Mark{
	{Kind: "one stream", Way: through, Of: fast, Over: plain, Mark: 0.88},
	{Kind: "one stream", Way: through, Of: fast, Over: peer, Mark: 5},
	{Kind: "udp 64 bytes", Way: through, Of: fast, Over: plain, Mark: 0.90},
	{Kind: "udp 64 bytes", Way: through, Of: fast, Over: peer, Mark: 2},
	{Kind: "connections", Way: through, Of: fast, Over: plain, Mark: 0.88},
	{Kind: "connections", Way: through, Of: fast, Over: peer},
	{Kind: "request-response", Way: through, Of: fast, Over: plain},
	{Kind: "one stream", Way: through, Of: slow, Over: peer, Mark: 1},
	{Kind: "udp 64 bytes", Way: through, Of: slow, Over: peer, Mark: 1},
	{Kind: "connections", Way: through, Of: slow, Over: peer},
}

// through is the one way there is between client and server.
const through = "through a gateway"

func run(ctx context.Context, o options, kind string) (err error) {
	if o.Kinds, err = regexp.Compile(kind); err != nil {
		return err
	}
	if _, err := exec.LookPath("tayga"); err != nil {
		return fmt.Errorf("%w: install Debian's package tayga, which this is measured beside", err)
	}
	systems := map[string]work.System{}
	for _, way := range []string{plain, fast, slow, peer} {
		b, err := newBed(ctx, way, o.CPU)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.close()) }()
		if err := b.reaches(); err != nil {
			return err
		}
		systems[way] = b.system()
	}
	r, err := work.Measure(ctx, o.Options, marks, func(name, _ string) work.System { return systems[name] })
	if err != nil {
		return err
	}
	r.Print(os.Stdout)
	return r.Write(o.results)
}
