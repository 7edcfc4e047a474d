// Command cni measures the CNI plugin against ptp and bridge with host-local, side by side on one machine.
//
// Every system has a host of its own, a network namespace, and the namespaces of endpoints are there before they are added. A pair is
// one round in which each system serves the same number of endpoints: `single` one at a time in turn (A B A B) on hosts with nothing
// else on them, `without` the same for Hexapod with and without eBPF, `crowded` the same on a host with many endpoints beside an empty
// one, `lone` one endpoint after a pause, `burst` 40 at a time. Lone is how an endpoint usually comes. It differs from single for plugins
// that look whether a link or address is ready and sleep if it is not: the kernel reports such events at most once a second, at once only
// after quiet. The figure of a comparison is the median of the pairs' ratios with its lower 95 % bound, or the upper one where the mark is
// not to be exceeded; all rounds are written down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options is the size of a run.
type options struct {
	pairs   int           // rounds in which systems are compared
	each    int           // endpoints per system and round; the slow ones serve one
	burst   int           // endpoints at a time
	living  int           // endpoints that are already there on the full host
	pause   time.Duration // quiet before each lone endpoint
	results string        // file
	bin     string        // folder with hexapod, hexapod-cni, ptp, bridge and host-local
	version string        // of what is measured
}

func main() {
	var o options
	flag.IntVar(&o.pairs, "pairs", 15, "rounds per comparison, at least 15 for a figure")
	flag.IntVar(&o.each, "each", 10, "endpoints per system and round")
	flag.IntVar(&o.burst, "burst", 40, "endpoints at a time in a burst")
	flag.IntVar(&o.living, "living", 1000, "endpoints already there on the full host")
	flag.DurationVar(&o.pause, "pause", 1500*time.Millisecond, "quiet before each endpoint of the lone rounds")
	flag.StringVar(&o.results, "results", "cni.json", "file for rounds and figures")
	flag.StringVar(&o.bin, "bin", "bin", "folder with hexapod, hexapod-cni, ptp, bridge and host-local (see run.sh)")
	flag.StringVar(&o.version, "version", "unknown", "version of what is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench cni:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	bed, err := newBed(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	report := newReport(o)
	if err := bed.measure(ctx, report); err != nil {
		return err
	}
	report.figures()
	report.print(os.Stdout)
	return report.write(o.results)
}
