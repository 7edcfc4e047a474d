package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"hexapod.dev/agent/local"
)

// defaultRunDir is where agent and command line meet unless --run says otherwise.
const defaultRunDir = "/run/hexapod"

// query is a call that asks the agent and prints the answer.
type query struct {
	flags  *flag.FlagSet
	run    string
	output format
}

// newQuery prepares the flags that all such calls share.
func newQuery(name, about string, out io.Writer) *query {
	q := &query{flags: flag.NewFlagSet(name, flag.ContinueOnError), output: formatTable}
	q.flags.SetOutput(out)
	q.flags.StringVar(&q.run, "run", defaultRunDir, "folder of the agent's sockets")
	q.flags.Var(&q.output, "o", "output: table or json")
	q.flags.Usage = func() {
		fmt.Fprintf(out, "%s\n\nUsage: hexapod %s [flags]\n\nFlags:\n", about, name)
		q.flags.PrintDefaults()
	}
	return q
}

// parse reads the call; positional words are refused.
func (q *query) parse(args []string) (help bool, err error) {
	if help, err = parseFlags(q.flags, args); help || err != nil {
		return help, err
	}
	if q.flags.NArg() > 0 {
		return false, usagef("takes no arguments, got %q", q.flags.Arg(0))
	}
	return false, nil
}

func runStatus(ctx context.Context, env environment, args []string) error {
	q := newQuery("status", "Shows what the agent of this host has done, and what not and why. Exits with 1 if something is not done.", env.stdout)
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	status, err := local.NewClient(q.run).Status(ctx)
	if err != nil {
		return err
	}
	if err := printStatus(env.stdout, q.output, status); err != nil {
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
