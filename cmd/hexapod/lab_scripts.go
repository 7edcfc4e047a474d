package main

import (
	"context"
	"os"

	"hexapod.dev/lab/demo"
	"hexapod.dev/lab/scenario"
)

func runLabRun(ctx context.Context, env environment, args []string) error {
	c := labCall{verbFlags: newFlags(env, "Runs scenarios, each with a lab of its own. With -v the log of those that pass is shown, too.")}
	c.verbosity()
	if help, err := c.parse(args, "SCENARIO.txtar ..."); help || err != nil {
		return err
	}
	return scenario.Run(ctx, scenario.Options{Report: c.steps(env.stderr)}, env.stdout, c.verbose, c.words...)
}

// runLabDemo is what `make demo` calls; KEEP and BREAK come from its command line.
func runLabDemo(ctx context.Context, env environment, args []string) error {
	c := newLabCall(env, "Makes a lab of 2 racks x 2 hosts x 3 endpoints, checks every pair, decodes an address, kills an agent under a running ping,\nand removes everything.", "demo")
	c.verbosity()
	keep := c.Bool("keep", os.Getenv("KEEP") == "1", "leave the lab running (or KEEP=1)")
	broken := c.Bool("break", os.Getenv("BREAK") == "1", "pull one cable first, so that it must fail (or BREAK=1)")
	kind := c.routerKind("")
	if help, err := c.parse(args); help || err != nil {
		return err
	}
	line := newProgress(env.stderr)
	return demo.Run(ctx, demo.Options{
		Name: c.name, Keep: *keep, Break: *broken, Router: *kind, Out: env.stdout,
		Report: func(s string) { line.end(); c.steps(env.stderr)(s) },
		Pairs:  line.pairs,
	})
}
