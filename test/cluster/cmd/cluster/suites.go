package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/conformance"
)

// suite runs a suite and prints its results: one line, and one for each spec that failed.
func suite(ctx context.Context, k *cluster.Cluster, s conformance.Suite) (conformance.Results, error) {
	begin := time.Now()
	results, err := conformance.Run(ctx, k, s, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "%s took %.0f s\n", s.Name, time.Since(begin).Seconds())
	return results, results.Print(os.Stdout, s.Name)
}

// checked prints what was found to be right.
func checked(line string) { fmt.Fprintf(os.Stdout, "check: %s\n", line) }

// conform looks at the cluster and runs the conformance suite. FOCUS chooses other specs, for development.
func conform(ctx context.Context, c call) error {
	k, err := cluster.Open(c.cache, c.options.Name)
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.Check(ctx, checked); err != nil {
		return err
	}
	s := conformance.Network
	s.Focus = knob("FOCUS", s.Focus)
	results, err := suite(ctx, k, s)
	if err != nil {
		return err
	}
	if failed := results.Failed(); len(failed) > 0 {
		return fmt.Errorf("%d specs failed; logs: %s", len(failed), k.Logs())
	}
	return nil
}

// comparison is where the last results of the other specs are kept.
var comparison = filepath.Join("bench", "results", "sig-network.txt")

// compare runs the other specs, writes what became of them beside what became of them on the reference, and fails if the cluster's
// network is worse.
func compare(ctx context.Context, c call) error {
	k, err := cluster.Open(c.cache, c.options.Name)
	if err != nil {
		return err
	}
	defer k.Close()
	version, err := c.cache.KubeVersion(ctx)
	if err != nil {
		return err
	}
	table, err := conformance.ReadComparison(comparison, version)
	if err != nil {
		return err
	}
	results, err := suite(ctx, k, conformance.Others)
	if err != nil {
		return err
	}
	network := k.Options.Network
	table.Add(network, results)
	f, err := os.Create(comparison)
	if err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	if err := errors.Join(table.Write(f), f.Close()); err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	if network == conformance.Reference {
		return nil
	}
	worse, err := table.Worse(network)
	if err == nil && len(worse) > 0 {
		err = fmt.Errorf("%d specs pass with NETWORK=%s and not with %s:\n  %s", len(worse), conformance.Reference, network, strings.Join(worse, "\n  "))
	}
	return err
}
