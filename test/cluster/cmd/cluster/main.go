// Command cluster brings a real Kubernetes up on this machine, in namespaces, and runs upstream's tests on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/addtime"
	"hexapod.dev/test/cluster/build"
)

const usage = `Usage: cluster VERB

  build              build programs and images into the cache (up does it too)
  up                 bring a cluster up and leave it running
  status             show every component, and what Kubernetes says of nodes and pods
  logs [NAME]        print the folder of logs, or the end of those whose name contains NAME
  kubectl ARGUMENT.. ask its API server
  exec MACHINE CMD.. run a command on a machine: router, cp, w1, w2 ...
  check              look for IPv4 where none belongs, and whether kubeadm takes what plans are rendered to
  conformance        check, and run upstream's network conformance suite on it, or SUITE
  record             conformance, kept in bench/results/conformance.txt beside what became of it on other kinds of clusters
  webhooks           run upstream's specs of webhooks, which the API server calls in pods
  compare            run upstream's other network specs, beside what became of them with NETWORK=ptp
  addtimes [PAIRS]   measure CNI ADD as the runtime sees it, ours beside the stock ptp; writes bench/results/cni-cluster.json
  down               remove it; what was built stays

Knobs, from the environment:
  NAME=cluster       NODES=3            FAMILY=ipv6|dual   NETWORK=hexapod|ptp|none
  FABRIC=flat|bgp    HOSTPREFIXES=plan|adopt               HOSTBITS=64|80|96|112
  KUBEPROXY=on|off   SUITE=conformance|policy|policyapi    INTERNET=none|ipv4
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		var ended *endedError
		if errors.As(err, &ended) && ended.ExitCode() > 0 {
			os.Exit(ended.ExitCode())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		_, err := io.WriteString(os.Stdout, usage)
		return err
	}
	verb, args := args[0], args[1:]
	// What a cluster itself calls, on machines that have no source tree.
	if handled, err := cluster.Called(ctx, append([]string{verb}, args...)); handled {
		return err
	}
	if verb == addtime.Verb {
		return timed(ctx, args)
	}
	do, ok := verbs[verb]
	if !ok {
		return fmt.Errorf("no verb %q\n\n%s", verb, usage)
	}
	cache, err := build.Open(".")
	if err != nil {
		return err
	}
	o, err := options()
	if err != nil {
		return err
	}
	return do(ctx, call{cache, o, args})
}

// call is what a verb works with.
type call struct {
	cache   build.Cache
	options cluster.Options
	args    []string
}

var verbs = map[string]func(context.Context, call) error{
	"build": func(ctx context.Context, c call) error { return c.cache.Build(ctx, progress("build")) },
	"up":    up,
	"down":  func(_ context.Context, c call) error { return cluster.Down(c.cache, c.options.Name) },
	"status": opened(func(ctx context.Context, k *cluster.Cluster, _ []string) error {
		return k.Status(ctx, os.Stdout)
	}),
	"logs": opened(func(_ context.Context, k *cluster.Cluster, args []string) error { return k.PrintLogs(os.Stdout, args) }),
	"kubectl": opened(func(ctx context.Context, k *cluster.Cluster, args []string) error {
		return attached(ctx, k, cluster.Router, append([]string{"kubectl"}, args...))
	}),
	"conformance": opened(conform),
	"webhooks":    opened(webhooks),
	"record":      record,
	"check":       opened(func(ctx context.Context, k *cluster.Cluster, _ []string) error { return k.Check(ctx, checked) }),
	"compare":     compare,
	"addtimes":    addtimes,
	"exec": opened(func(ctx context.Context, k *cluster.Cluster, args []string) error {
		if len(args) < 2 {
			return errors.New("exec: want a machine and a command")
		}
		return attached(ctx, k, args[0], args[1:])
	}),
}

// options are the knobs.
func options() (cluster.Options, error) {
	o := cluster.Options{
		Name: knob("NAME", cluster.DefaultName), Family: knob("FAMILY", cluster.IPv6), Network: knob("NETWORK", cluster.Hexapod),
		Fabric: knob("FABRIC", cluster.Flat), KubeProxy: knob("KUBEPROXY", "on") == "on", Internet: knob("INTERNET", cluster.NoInternet),
	}
	prefixes := cluster.Plan
	if o.Network == cluster.PTP {
		prefixes = cluster.Adopt
	}
	o.HostPrefixes = knob("HOSTPREFIXES", prefixes)
	bits, err := strconv.Atoi(knob("HOSTBITS", "64"))
	if err != nil {
		return o, fmt.Errorf("HOSTBITS: %w", err)
	}
	o.HostBits = bits
	nodes, err := strconv.Atoi(knob("NODES", "3"))
	if err != nil {
		return o, fmt.Errorf("NODES: want a number: %w", err)
	}
	o.Workers = nodes - 1
	o.Programs, err = filepath.Abs(knob("BIN", "bin"))
	return o, err
}

func knob(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// progress prints each step with the seconds since the first.
func progress(name string) func(string) {
	begin := time.Now()
	return func(line string) {
		fmt.Fprintf(os.Stdout, "%s: %6.1f s  %s\n", name, time.Since(begin).Seconds(), line)
	}
}

func up(ctx context.Context, c call) error {
	report := progress("cluster " + c.options.Name)
	if err := errors.Join(c.options.Check(), cluster.Preflight()); err != nil {
		return err
	}
	if err := c.cache.Build(ctx, report); err != nil {
		return err
	}
	k, err := cluster.Up(ctx, c.cache, c.options, report)
	if err != nil {
		return err
	}
	defer k.Close()
	report("up. Try: make kubectl ARGS='get pods -A', or bin/cluster status; make cluster-down removes it")
	return nil
}

// opened wraps a verb that needs a cluster which is there.
func opened(do func(context.Context, *cluster.Cluster, []string) error) func(context.Context, call) error {
	return func(ctx context.Context, c call) error {
		k, err := cluster.Open(c.cache, c.options.Name)
		if err != nil {
			return err
		}
		return errors.Join(do(ctx, k, c.args), k.Close())
	}
}

// attached runs a command on a machine with our streams.
func attached(ctx context.Context, k *cluster.Cluster, machine string, words []string) error {
	cmd := k.Command(ctx, words...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := k.Run(machine, cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &endedError{exit}
	}
	return err
}

// endedError is how a command ended that had our streams: it said why by itself.
type endedError struct{ *exec.ExitError }
