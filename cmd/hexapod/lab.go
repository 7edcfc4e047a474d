package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"hexapod.dev/lab"
	"hexapod.dev/lab/topology"
)

const labAbout = `Makes a fabric of network namespaces on this machine: racks of hosts with real agents, routers, an outside host.
IPv6 alone. Needs root and nothing else; leaves nothing behind.`

const where = "WHERE is a host (r1h1), an endpoint (r1h1-e1), a router (tor1, spine) or outside."

// labVerbs are the verbs of `hexapod lab`. Those without a summary are called by the lab itself.
func labVerbs() []command {
	return []command{
		{name: "up", summary: "make a lab and leave it running", usage: "[--racks N] [--hosts N] [--endpoints N] [--cables N] [--tors N] [--router KIND] [--bare] [--open] [--name NAME] [-v]", run: runLabUp},
		{name: "check", summary: "try every pair of a lab by ping and by HTTP", usage: "[--name NAME]", run: runLabCheck},
		{name: "exec", summary: "run a command inside a lab", usage: "[--name NAME] WHERE [--] COMMAND [ARGUMENT ...]", run: runLabExec},
		{name: "run", summary: "run scenarios, each with a lab of its own", usage: "[-v] SCENARIO.txtar ...", run: runLabRun},
		{name: "demo", summary: "show all of it in some seconds", usage: "[--router KIND] [--name NAME] [--keep] [--break] [-v]", run: runLabDemo},
		{name: "down", summary: "remove a lab, whatever there is of it", usage: "[--name NAME]", run: runLabDown},
		{name: "probe", summary: "ping, ask and answer inside a lab without programs of the machine", about: labProbeAbout, verbs: labProbes()},
		{name: "hold", run: runLabHold},
		{name: "router", usage: "[--run DIR] FILE", run: runLabRouter},
	}
}

// labCall is what the verbs share: flags and the name of the lab.
type labCall struct {
	*verbFlags
	name    string
	verbose bool
}

func newLabCall(env environment, about, name string) *labCall {
	c := &labCall{verbFlags: newFlags(env, about)}
	c.StringVar(&c.name, "name", name, "`NAME` of the lab, for several on one machine")
	return c
}

// routerKind adds --router.
func (c *labCall) routerKind(byDefault lab.RouterKind) *lab.RouterKind {
	kind := byDefault
	c.Func("router", fmt.Sprintf("`KIND` of the routers: %s (default %s)", strings.Join(lab.RouterKinds(), ", "), cmp.Or(string(byDefault), "frr where it is installed, else hexapod")), func(v string) error {
		if kind = lab.RouterKind(v); !slices.Contains(lab.RouterKinds(), v) {
			return fmt.Errorf("%q: want one of %s", v, strings.Join(lab.RouterKinds(), ", "))
		}
		return nil
	})
	return &kind
}

// verbosity adds -v.
func (c *labCall) verbosity() {
	c.BoolVar(&c.verbose, "v", false, "say each step (always on a terminal)")
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
	c := newLabCall(env, "Makes a lab and leaves it running.", lab.DefaultName)
	c.verbosity()
	var size topology.Size
	c.IntVar(&size.Racks, "racks", 2, fmt.Sprintf("`N` racks, 1 to %d", topology.MaxRacks))
	c.IntVar(&size.Hosts, "hosts", 2, fmt.Sprintf("`N` hosts in each rack, at most %d in all", topology.MaxHosts))
	c.IntVar(&size.Endpoints, "endpoints", 3, fmt.Sprintf("`N` endpoints on each host, at most %d in all", topology.MaxEndpoints))
	c.IntVar(&size.Cables, "cables", 1, fmt.Sprintf("`N` cables from each host to each ToR of its rack, 1 to %d", topology.MaxCables))
	c.IntVar(&size.TorsEach, "tors", 1, fmt.Sprintf("`N` ToRs in each rack, 1 to %d", topology.MaxTors))
	kind := c.routerKind(lab.HexapodRouter)
	bare := c.Bool("bare", false, "the fabric alone: no agents, no endpoints")
	open := c.Bool("open", false, "the outside reaches every endpoint; else what is published alone")
	if help, err := c.parse(args); help || err != nil {
		return err
	}
	l, err := lab.Up(ctx, lab.Options{Name: c.name, Size: size, Router: *kind, Bare: *bare, Open: *open, Report: c.steps(env.stderr)})
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
	c := newLabCall(env, "Removes a lab, whatever there is of it, and checks that nothing is left. Twice is fine.", lab.DefaultName)
	if help, err := c.parse(args); help || err != nil {
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
	c := newLabCall(env, "Tries every ordered pair of endpoints, and the outside with each in both directions, by ping and by HTTP.", lab.DefaultName)
	if help, err := c.parse(args); help || err != nil {
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
	fmt.Fprintln(env.stdout, r)
	return r.Err()
}

func runLabExec(_ context.Context, env environment, args []string) error {
	c := newLabCall(env, "Runs a command inside a lab. "+where+"\nWhat stands behind WHERE belongs to the command. Exits with 1 when the command failed.", lab.DefaultName)
	if help, err := c.parseCommand(args, "WHERE", "COMMAND", "[ARGUMENT ...]"); help || err != nil {
		return err
	}
	where, command := c.words[0], c.words[1:]
	if command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return usagef("want a command behind --")
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
