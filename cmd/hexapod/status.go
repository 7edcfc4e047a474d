package main

import (
	"context"
	"fmt"
	"io"

	"hexapod.dev/agent/local"
)

const queryUsage = "[-o table|json] [--run DIR]"

// query is a call that asks the agent and prints the answer.
type query struct {
	*verbFlags
	run    *string
	output *format
}

// newQuery prepares the flags that all such calls share.
func newQuery(env environment, about string) query {
	f := newFlags(env, about)
	return query{f, f.runDir(), f.output()}
}

func runStatus(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Shows what the agent of this host has done, and what not and why. Exits with 1 if something is not done.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	status, err := local.NewClient(*q.run).Status(ctx)
	if err != nil {
		return err
	}
	if err := printStatus(env.stdout, *q.output, status); err != nil {
		return err
	}
	if left := status.NotDone(); len(left) > 0 {
		return fmt.Errorf("%d of %d objects are not done", len(left), len(status.Objects))
	}
	return nil
}

func printStatus(w io.Writer, f format, s local.Status) error {
	if f == formatJSON {
		return printJSON(w, s)
	}
	fmt.Fprintf(w, "host %s  prefix %s  agent %s  pid %d  since %s\n\n", s.Host, orDash(s.Prefix), s.Version, s.PID, s.Started.UTC().Format("2006-01-02T15:04:05Z"))
	rows := make([][]string, len(s.Objects))
	for i, o := range s.Objects {
		about := o.Detail
		if o.Why != "" {
			about = o.Why
		}
		rows[i] = []string{o.Kind, o.Name, string(o.State), about}
	}
	return printTable(w, []string{"KIND", "NAME", "STATE", "WHY"}, rows)
}
