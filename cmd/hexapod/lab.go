package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"hexapod.dev/lab"
	"hexapod.dev/lab/topology"
)

const labAbout = `Makes a fabric of network namespaces on this machine: racks of hosts with real agents, routers, an outside host.
IPv6 alone. Needs root and nothing else; leaves nothing behind.

Usage: hexapod lab up    [--racks R] [--hosts H] [--endpoints E] [--bare] [--name N] [-v]
       hexapod lab check [--name N]
       hexapod lab exec  [--name N] WHERE -- COMMAND [ARGUMENT ...]
       hexapod lab run   [-v] SCENARIO.txtar ...
       hexapod lab demo  [--name N] [--keep] [--break] [-v]
       hexapod lab down  [--name N]

WHERE is a host (r1h1), an endpoint (r1h1-e1), a router (tor1, spine) or outside.`

// labVerbs are the verbs of `hexapod lab`. Those without an entry in labAbout are called by the lab itself.
var labVerbs = map[string]func(context.Context, environment, []string) error{
	"up":    runLabUp,
	"check": runLabCheck,
	"exec":  runLabExec,
	"run":   runLabRun,
	"demo":  runLabDemo,
	"down":  runLabDown,
	"hold":  runLabHold,
	"probe": runLabProbe,
}

func runLab(ctx context.Context, env environment, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintln(env.stdout, labAbout)
		return nil
	}
	verb, ok := labVerbs[args[0]]
	if !ok {
		return usagef("no verb %q", args[0])
	}
	return verb(ctx, env, args[1:])
}

// labCall is what the verbs share: flags and the name of the lab.
type labCall struct {
	flags   *flag.FlagSet
	name    string
	verbose bool
}

func newLabCall(verb string, out io.Writer) *labCall {
	c := &labCall{flags: flag.NewFlagSet("lab "+verb, flag.ContinueOnError)}
	c.flags.SetOutput(out)
	c.flags.StringVar(&c.name, "name", lab.DefaultName, "name of the lab, for several on one machine")
	c.flags.BoolVar(&c.verbose, "v", false, "say each step (always on a terminal)")
	return c
}

// parse reads the flags and wants words between least and most.
func (c *labCall) parse(args []string, least, most int) (help bool, err error) {
	if help, err = parseFlags(c.flags, args); help || err != nil {
		return help, err
	}
	if n := c.flags.NArg(); n < least || (most >= 0 && n > most) {
		return false, usagef("%s: got %d words after the flags: %q", c.flags.Name(), n, c.flags.Args())
	}
	return false, nil
}

// steps returns the writer of progress lines, for -v or a terminal.
func (c *labCall) steps(w io.Writer) func(string) {
	if !c.verbose && !isTerminal(w) {
		return func(string) {}
	}
	return func(line string) { fmt.Fprintf(w, "lab %s: %s\n", c.name, line) }
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func runLabUp(ctx context.Context, env environment, args []string) error {
	c := newLabCall("up", env.stdout)
	var size topology.Size
	c.flags.IntVar(&size.Racks, "racks", 2, fmt.Sprintf("racks, 1 to %d", topology.MaxRacks))
	c.flags.IntVar(&size.Hosts, "hosts", 2, fmt.Sprintf("hosts in each rack, at most %d in all", topology.MaxHosts))
	c.flags.IntVar(&size.Endpoints, "endpoints", 3, fmt.Sprintf("endpoints on each host, at most %d in all", topology.MaxEndpoints))
	bare := c.flags.Bool("bare", false, "the fabric alone: no agents, no endpoints")
	if help, err := c.parse(args, 0, 0); help || err != nil {
		return err
	}
	l, err := lab.Up(ctx, lab.Options{Name: c.name, Size: size, Bare: *bare, Report: c.steps(env.stderr)})
	var unfinished *lab.UnfinishedError
	if errors.As(err, &unfinished) {
		return fmt.Errorf("%w\nWhat there is of it stays for a look: hexapod lab down --name %s removes it", err, c.name)
	}
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintf(env.stdout, "lab %s is up: %d machines, %d endpoints. Try:\n", c.name, len(l.Machines()), len(l.Endpoints()))
	fmt.Fprintf(env.stdout, "  hexapod lab check --name %[1]s\n  hexapod lab exec --name %[1]s r1h1 -- hexapod endpoints\n  hexapod lab down --name %[1]s\n", c.name)
	return nil
}

func runLabDown(ctx context.Context, env environment, args []string) error {
	c := newLabCall("down", env.stdout)
	if help, err := c.parse(args, 0, 0); help || err != nil {
		return err
	}
	if err := lab.Down(ctx, c.name); err != nil {
		return err
	}
	return nothingLeft(c.name)
}

// nothingLeft is an error that lists what a lab left behind.
func nothingLeft(name string) error {
	left, err := lab.Leftovers(name)
	for _, thing := range left {
		err = errors.Join(err, fmt.Errorf("lab %s left %s", name, thing))
	}
	return err
}

func runLabCheck(ctx context.Context, env environment, args []string) error {
	c := newLabCall("check", env.stdout)
	if help, err := c.parse(args, 0, 0); help || err != nil {
		return err
	}
	l, err := lab.Open(c.name)
	if errors.Is(err, lab.ErrNotUp) {
		if left := nothingLeft(c.name); left != nil {
			return left
		}
		return err
	}
	if err != nil {
		return err
	}
	defer l.Close()
	progress := newProgress(env.stderr)
	r, err := l.Check(ctx, progress.pairs)
	progress.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "%d pairs, %d failed, %d lost\n", len(r.Pairs), len(r.Failed()), r.Lost())
	return r.Err()
}

func runLabExec(_ context.Context, env environment, args []string) error {
	c := newLabCall("exec", env.stdout)
	if help, err := c.parse(args, 1, -1); help || err != nil {
		return err
	}
	where, command := c.flags.Arg(0), c.flags.Args()[1:]
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return usagef("exec: want a machine or endpoint, --, and a command")
	}
	l, err := lab.Open(c.name)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Exec(where, command, lab.Streams{In: os.Stdin, Out: env.stdout, Err: env.stderr}); err != nil {
		return fmt.Errorf("%s: %s: %w", where, command[0], err)
	}
	return nil
}
