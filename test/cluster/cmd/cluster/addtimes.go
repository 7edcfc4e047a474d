package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"hexapod.dev/test/cluster"
	"hexapod.dev/test/cluster/addtime"
	"hexapod.dev/test/cluster/build"
	"hexapod.dev/test/paired"
)

// addtimesPods are made together in a round: few, so that they wait for the plugin and not for each other.
const addtimesPods = 5

// addtimes measures ADD and keeps the rounds.
func addtimes(ctx context.Context, c call) error {
	pairs := paired.FewestPairs
	if len(c.args) > 0 {
		n, err := strconv.Atoi(c.args[0])
		if err != nil || n < 1 {
			return fmt.Errorf("addtimes %q: want a number of pairs", c.args[0])
		}
		pairs = n
	}
	k, err := cluster.Open(c.cache, c.options.Name)
	if err != nil {
		return err
	}
	defer k.Close()
	names, err := c.cache.Names(ctx)
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		version = []byte("unknown")
	}
	r, err := addtime.Measure(ctx, addtime.Options{
		Cluster: k, Pause: names[build.PauseImage], Self: k.Self(), Plugins: c.cache.CNI(), Version: strings.TrimSpace(string(version)),
		Pairs: pairs, Pods: addtimesPods, Report: func(line string) { fmt.Fprintln(os.Stderr, "addtimes:", line) },
	})
	if err != nil {
		return err
	}
	return errors.Join(r.Print(os.Stdout), r.Write(filepath.Join("bench", "results", "cni-cluster.json")))
}

// timed stands before a plugin, on a node.
func timed(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: want a plugin and a log", addtime.Verb)
	}
	exit, err := addtime.Timed(ctx, args[0], args[1])
	if err == nil && exit != 0 {
		os.Exit(exit)
	}
	return err
}
