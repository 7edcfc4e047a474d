package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
)

const checkAbout = `Reads a configuration folder exactly as the agent does and prints everything that is wrong with it, one line each:
file:line:column: Kind name: field: what is wrong; what to do. Exits with 1 if the agent would refuse the folder.`

const checkUsage = "[-o table|json] [--config DIR | DIR]"

func runCheck(_ context.Context, env environment, args []string) error {
	f := newFlags(env, checkAbout)
	dir, output := f.config(), f.output()
	if help, err := f.parse(args, "[DIR]"); help || err != nil {
		return err
	}
	if len(f.words) == 1 {
		*dir = f.words[0]
	}
	return checkFolder(env, *output, *dir)
}

func checkFolder(env environment, output format, dir string) error {
	s, err := file.Load(dir)
	problems := s.Warnings
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if err == nil {
		resting := s.Resting(time.Now())
		problems = append(problems, resting...).Sort()
		if len(resting.Errors()) > 0 {
			err = resting
		}
	}
	if err := printProblems(env, output, problems); err != nil {
		return err
	}
	errs, warnings := len(problems.Errors()), len(problems.Warnings())
	if err != nil {
		return fmt.Errorf("%s is refused: %s, %s", dir, counted(errs, "error"), counted(warnings, "warning"))
	}
	if output == formatTable {
		fmt.Fprintf(env.stdout, "%s is right: %s, %s, %s, %s, %s\n", dir, counted(len(s.Objects.Hosts), "host"), counted(len(s.Objects.Pools), "pool"),
			counted(len(s.Objects.Identities), "identity"), counted(len(s.Objects.Addresses), "fixed address"), counted(warnings, "warning"))
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
