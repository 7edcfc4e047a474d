package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"hexapod.dev/edge/file"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
)

const planAbout = `Makes, shows and checks an address plan, gives numbers to hosts, and writes the plan for other programs.

Readable public addresses tell outsiders the host, the number of the workload and its birth time. The alternative is
` + "`--sealed`" + `. It is chosen when the plan is made.

Usage: hexapod plan new      --from PREFIX|ula [--sealed] [--profile P] [--lab] [--racks N] [--hosts M] [--out DIR]
       hexapod plan show     [--config DIR] [-o table|json] [--svg FILE]
       hexapod plan check    [--against OLDDIR] DIR
       hexapod plan host     add [--config DIR] [--cluster C] --rack R NAME
       hexapod plan host     retire [--config DIR] NAME
       hexapod plan capacity [--config DIR] [--per-day N --life 9d] [-o table|json]
       hexapod plan render   --for TARGET [--config DIR] [--host H | --rack C/R | --spine N] [--out DIR]

` + "`hexapod plan VERB --help`" + ` tells more.`

// planVerbs are the verbs of `hexapod plan`.
var planVerbs = map[string]func(context.Context, environment, []string) error{
	"new":      runPlanNew,
	"show":     runPlanShow,
	"check":    runPlanCheck,
	"host":     runPlanHost,
	"capacity": runPlanCapacity,
	"render":   runPlanRender,
}

func runPlan(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintln(env.stdout, planAbout)
		return nil
	}
	verb, ok := planVerbs[args[0]]
	if !ok {
		return usagef("no verb %q", args[0])
	}
	return verb(ctx, env, args[1:])
}

// planFlags makes the flags of one verb; about is what its help says above them.
func planFlags(env environment, verb, about string) *flag.FlagSet {
	f := flag.NewFlagSet("plan "+verb, flag.ContinueOnError)
	f.SetOutput(env.stdout)
	f.Usage = func() { fmt.Fprintf(env.stdout, "%s\n\nFlags of hexapod plan %s:\n", about, verb); f.PrintDefaults() }
	return f
}

// configFlag adds the folder that most verbs read.
func configFlag(f *flag.FlagSet) *string {
	return f.String("config", "/etc/hexapod", "`folder` of YAML files")
}

// loadPlan reads a folder that must be right.
func loadPlan(dir string) (addressplan.Plan, error) {
	s, err := file.Load(dir)
	if err != nil {
		return addressplan.Plan{}, fmt.Errorf("read %s: %w", dir, err)
	}
	return s.Model.Plan, nil
}

// planNow is the present on the clock by which records of hosts are kept.
func planNow() addressplan.Seconds { return addressplan.Seconds(ipam.FromUnix(time.Now().Unix())) }

// noArguments refuses words behind the flags.
func noArguments(f *flag.FlagSet) error {
	if f.NArg() > 0 {
		return usagef("takes no arguments, got %q", strings.Join(f.Args(), " "))
	}
	return nil
}

// oneArgument returns the one word behind the flags. Flags behind it would be taken for words, so that is said.
func oneArgument(f *flag.FlagSet, what string) (string, error) {
	switch f.NArg() {
	case 1:
		return f.Arg(0), nil
	case 0:
		return "", usageError{errors.New("want " + what)}
	}
	return "", usagef("want one %s behind the flags, got %q", what, strings.Join(f.Args(), " "))
}

func runPlanHost(_ context.Context, env environment, args []string) error {
	if len(args) == 0 || args[0] != "add" && args[0] != "retire" {
		return usagef("want host add or host retire")
	}
	if args[0] == "add" {
		return runPlanHostAdd(env, args[1:])
	}
	return runPlanHostRetire(env, args[1:])
}
