// Command faults proves that the twin tests of the datapath see mistakes: it makes one in the C sources, compiles them, and runs the tests.
//
// Kinds of mistakes are fixed (operators.go), a seed says where they are made. A mistake that the compiler or the kernel's verifier refuses is
// replaced by the next one of its kind. A mistake that no test notices is a failure: the packets of the tests miss something.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	seed := flag.Uint64("seed", 1, "where mistakes are made")
	of := flag.String("of", "datapath", "what they are made in: datapath or nat64")
	count := flag.Int("count", 20, "how many are made")
	results := flag.String("results", "", "file for the list of mistakes and who noticed them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *of, *seed, *count, *results); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, of string, seed uint64, count int, results string) error {
	work, err := os.MkdirTemp("", "hexapod-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	s, known := subjects[of]
	if !known {
		return fmt.Errorf("no mistakes are made in %q", of)
	}
	b := &bed{tree: ".", work: work, of: s}
	if err := b.build(ctx); err != nil {
		return err
	}
	if by, err := b.try(ctx, nil); err != nil {
		return fmt.Errorf("the sources as they are: %w", err)
	} else if by != "" {
		return fmt.Errorf("the sources as they are do not pass %s", by)
	}
	faults, err := b.draw(rand.New(rand.NewPCG(seed, 20)))
	if err != nil {
		return err
	}
	var kinds []string
	for _, o := range operators {
		if len(faults[o.name]) > 0 {
			kinds = append(kinds, o.name)
		}
	}
	var report strings.Builder
	fmt.Fprintf(&report, "# %d mistakes in the C sources of %s, placed by seed %d: what was made of a line, and which test noticed\n", count, of, seed)
	missed := 0
	for i, next := 0, map[string]int{}; i < count; {
		kind := kinds[i%len(kinds)]
		if next[kind] == len(faults[kind]) {
			return fmt.Errorf("no more places for %q", kind)
		}
		f := faults[kind][next[kind]]
		next[kind]++
		began := time.Now()
		by, err := b.try(ctx, &f)
		var refused *refusedError
		if errors.As(err, &refused) {
			fmt.Printf("   refused by %s: %s\n", refused.by, f)
			continue
		}
		if err != nil {
			return err
		}
		i++
		if by == "" {
			by = "NOBODY"
			missed++
		}
		fmt.Printf("%2d noticed by %s after %.1f s: %s\n", i, by, time.Since(began).Seconds(), f)
		fmt.Fprintf(&report, "\n%2d. %s\n    noticed by %s\n", i, f, by)
	}
	fmt.Fprintf(&report, "\n%d of %d were noticed.\n", count-missed, count)
	if results != "" {
		if err := os.WriteFile(results, []byte(report.String()), 0o644); err != nil {
			return err
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d mistakes were noticed by nobody", missed, count)
	}
	fmt.Printf("all %d mistakes were noticed\n", count)
	return nil
}

// draw lists all places of each kind, in the order of the dice.
func (b *bed) draw(dice *rand.Rand) (map[string][]fault, error) {
	faults := map[string][]fault{}
	for _, name := range b.of.sources {
		text, err := os.ReadFile(filepath.Join(b.tree, "bpf", name))
		if err != nil {
			return nil, err
		}
		for _, f := range placesIn(name, string(text)) {
			faults[f.kind] = append(faults[f.kind], f)
		}
	}
	for _, o := range operators {
		list := faults[o.name]
		dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return faults, nil
}
