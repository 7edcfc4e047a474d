package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
)

const checkAbout = `Reads a configuration folder exactly as the agent does and prints everything that is wrong with it, one line each:
file:line:column: Kind name: field: what is wrong; what to do. Exits with 1 if the agent would refuse the folder.

Usage: hexapod check [-o table|json] DIR

Flags:`

func runCheck(_ context.Context, env environment, args []string) error {
	output := formatTable
	f := flag.NewFlagSet("check", flag.ContinueOnError)
	f.SetOutput(env.stdout)
	f.Usage = func() { fmt.Fprintln(env.stdout, checkAbout); f.PrintDefaults() }
	f.Var(&output, "o", "table or json")
	if help, err := parseFlags(f, args); help || err != nil {
		return err
	}
	if f.NArg() != 1 {
		return usagef("want one folder, got %d", f.NArg())
	}
	dir := f.Arg(0)
	s, err := file.Load(dir)
	problems := s.Warnings
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if err := printProblems(env, output, problems); err != nil {
		return err
	}
	errs, warnings := len(problems.Errors()), len(problems.Warnings())
	if err != nil {
		return fmt.Errorf("%s is refused: %d errors, %d warnings", dir, errs, warnings)
	}
	if output == formatTable {
		fmt.Fprintf(env.stdout, "%s is right: %d hosts, %d pools, %d identities, %d fixed addresses, %d warnings\n",
			dir, len(s.Objects.Hosts), len(s.Objects.Pools), len(s.Objects.Identities), len(s.Objects.Addresses), warnings)
	}
	return nil
}

func printProblems(env environment, output format, problems v1alpha1.Problems) error {
	if output == formatJSON {
		if problems == nil {
			problems = v1alpha1.Problems{}
		}
		return printJSON(env.stdout, problems)
	}
	for _, p := range problems {
		fmt.Fprintln(env.stdout, p)
	}
	return nil
}
