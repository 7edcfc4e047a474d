package main

import (
	"context"
	"os"

	"hexapod.dev/lab/demo"
	"hexapod.dev/lab/scenario"
)

func runLabRun(ctx context.Context, env environment, args []string) error {
	c := newLabCall("run", env.stdout)
	if help, err := c.parse(args, 1, -1); help || err != nil {
		return err
	}
	return scenario.Run(ctx, scenario.Options{Report: c.steps(env.stderr)}, env.stdout, c.verbose, c.flags.Args()...)
}

// runLabDemo is what `make demo` calls; KEEP and BREAK come from its command line.
func runLabDemo(ctx context.Context, env environment, args []string) error {
	c := newLabCall("demo", env.stdout)
	c.name = "demo"
	c.flags.Lookup("name").DefValue = c.name
	keep := c.flags.Bool("keep", os.Getenv("KEEP") == "1", "leave the lab running (or KEEP=1)")
	broken := c.flags.Bool("break", os.Getenv("BREAK") == "1", "remove one route first, so that it must fail (or BREAK=1)")
	if help, err := c.parse(args, 0, 0); help || err != nil {
		return err
	}
	line := newProgress(env.stderr)
	return demo.Run(ctx, demo.Options{
		Name: c.name, Keep: *keep, Break: *broken, Out: env.stdout,
		Report: func(s string) { line.end(); c.steps(env.stderr)(s) },
		Pairs:  line.pairs,
	})
}
