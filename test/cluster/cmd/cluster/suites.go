package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/build"
	"hexapod.dev/test/cluster/conformance"
)

// suite runs a suite and prints its results: one line, and one for each spec that failed.
func suite(ctx context.Context, k *cluster.Cluster, s conformance.Suite) (conformance.Results, error) {
	return printed(s.Name, func(say func(string)) (conformance.Results, error) { return conformance.Run(ctx, k, s, say) })
}

// printed runs tests, says how long they took and prints what became of them.
func printed(name string, run func(say func(string)) (conformance.Results, error)) (conformance.Results, error) {
	begin := time.Now()
	results, err := run(func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "%s took %.0f s\n", name, time.Since(begin).Seconds())
	return results, results.Print(os.Stdout, name)
}

// checked prints what was found to be right.
func checked(line string) { fmt.Fprintf(os.Stdout, "check: %s\n", line) }

// conform looks at the cluster and runs the suite that SUITE names: the conformance suite. FOCUS chooses other specs, for development.
func conform(ctx context.Context, k *cluster.Cluster, _ []string) error {
	name := knob("SUITE", conformance.Network.Name)
	if name == conformance.PolicyAPI {
		cache, err := build.Open(".")
		if err != nil {
			return err
		}
		results, err := printed(name, func(say func(string)) (conformance.Results, error) {
			return conformance.RunPolicyAPI(ctx, k, cache, say)
		})
		return errors.Join(err, judged(k, results))
	}
	s, known := conformance.Suites[name]
	if !known {
		names := append(slices.Sorted(maps.Keys(conformance.Suites)), conformance.PolicyAPI)
		return fmt.Errorf("no suite %q: SUITE is one of %s", name, strings.Join(names, ", "))
	}
	s.Focus = knob("FOCUS", s.Focus)
	_, err := conformed(ctx, k, s)
	return err
}

// webhooks runs the specs in which the API server has to reach pods.
func webhooks(ctx context.Context, k *cluster.Cluster, _ []string) error {
	_, err := conformed(ctx, k, conformance.Webhooks)
	return err
}

// conformed looks at the cluster and runs a suite on it, all of which has to pass.
func conformed(ctx context.Context, k *cluster.Cluster, s conformance.Suite) (conformance.Results, error) {
	if err := k.Check(ctx, checked); err != nil {
		return nil, err
	}
	results, err := suite(ctx, k, s)
	return results, errors.Join(err, judged(k, results))
}

// judged is an error when a spec failed.
func judged(k *cluster.Cluster, results conformance.Results) error {
	if failed := results.Failed(); len(failed) > 0 {
		return fmt.Errorf("%d specs failed; logs: %s", len(failed), k.Logs())
	}
	return nil
}

// Where the last results of both suites are kept.
var (
	conformity = filepath.Join("bench", "results", "conformance.txt")
	comparison = filepath.Join("bench", "results", "sig-network.txt")
)

// record is conform, and keeps what became of the specs beside what became of them on other kinds of clusters.
func record(ctx context.Context, c call) error {
	k, err := cluster.Open(c.cache, c.options.Name)
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.CountServices(ctx); err != nil {
		return err
	}
	results, failed := conformed(ctx, k, conformance.NetworkOf(k.Options))
	if results == nil {
		return failed
	}
	packets, err := k.CountedServices(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	counted := fmt.Sprintf("%d packets that begin something reached a service address in the nodes' tables", packets)
	fmt.Fprintln(os.Stdout, "services:", counted)
	version, err := c.cache.KubeVersion(ctx)
	if err == nil {
		_, err = keep(conformity, conformance.TitleOfNetwork(version), k.Options.Kind(), machine()+"; "+counted, results)
	}
	return errors.Join(failed, err)
}

// machine says what runs here: the version of the tree, and the load of the machine in the last minute.
func machine() string {
	version, load := "unknown", "unknown"
	if out, err := exec.Command("git", "describe", "--tags", "--always").Output(); err == nil {
		version = strings.TrimSpace(string(out))
		if exec.Command("git", "diff", "--quiet", "HEAD", "--", ".", ":!bench/results").Run() != nil {
			version += "-dirty"
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("version %s, 1-minute load %s at the end", version, load)
}

// keep puts the results of a run into the file of all. from says what ran where.
func keep(file, title, column, from string, results conformance.Results) (conformance.Comparison, error) {
	table, err := conformance.ReadComparison(file, title)
	if err != nil {
		return table, err
	}
	table.Add(column, from, results)
	f, err := os.Create(file)
	if err != nil {
		return table, fmt.Errorf("keep the results: %w", err)
	}
	if err := errors.Join(table.Write(f), f.Close()); err != nil {
		return table, fmt.Errorf("keep the results: %w", err)
	}
	return table, nil
}

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
	results, err := suite(ctx, k, conformance.Others)
	if err != nil {
		return err
	}
	network := k.Options.Network
	table, err := keep(comparison, conformance.TitleOfOthers(version), network, machine(), results)
	if err != nil || network == conformance.Reference {
		return err
	}
	worse, err := table.Worse(network)
	if err == nil && len(worse) > 0 {
		err = fmt.Errorf("%d specs pass with NETWORK=%s and not with %s:\n  %s", len(worse), conformance.Reference, network, strings.Join(worse, "\n  "))
	}
	return err
}
