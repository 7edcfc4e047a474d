// Command hexapod is an IPv6-first network for Kubernetes and containers: the daemon of a host and every tool beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes mean something: a script can tell a bad call from a failed one.
const (
	exitOK     = 0
	exitFailed = 1 // the call was understood and did not succeed
	exitUsage  = 2 // the call was not understood; nothing was done
)

// command is one verb of the command line. run gets the words after the verb.
type command struct {
	name    string
	summary string // its line in `hexapod help`
	run     func(ctx context.Context, env environment, args []string) error
}

// environment is what a command may touch of the process, so that tests need no process.
type environment struct {
	stdout, stderr io.Writer
}

// commands in the order of `hexapod help`.
func commands() []command {
	return []command{
		{"plan", "make, show and check an address plan, write it for other programs", runPlan},
		{"lab", "make a fabric of network namespaces on this machine", runLab},
		{"check", "check a configuration folder as the agent does", runCheck},
		{"identity", "give numbers to sets of labels", runIdentity},
		{"agent", "run the daemon of this host", runAgent},
		{"status", "show what the agent has done, and what not and why", runStatus},
		{"endpoints", "list the endpoints of this host", runEndpoints},
		{"routes", "list the routes of this host", runRoutes},
		{"whereis", "tell where an address lies, who has it, and since when", runWhereis},
		{"ipam", "look after the addresses of this host and their journal", runIPAM},
		{"version", "print the version of this build", runVersion},
	}
}

// usageError is an error of the call itself: the program exits with 2 and points to help.
type usageError struct{ error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, environment{os.Stdout, os.Stderr}, os.Args[1:]))
}

func run(ctx context.Context, env environment, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		printHelp(env.stdout)
		return exitOK
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, env, args[1:])
		var usage usageError
		switch {
		case err == nil:
			return exitOK
		case errors.As(err, &usage):
			fmt.Fprintf(env.stderr, "hexapod %s: %v\nSee: hexapod %s --help\n", c.name, err, c.name)
			return exitUsage
		default:
			fmt.Fprintf(env.stderr, "hexapod %s: %v\n", c.name, err)
			return exitFailed
		}
	}
	fmt.Fprintf(env.stderr, "hexapod: no command %q\nSee: hexapod help\n", args[0])
	return exitUsage
}

func printHelp(w io.Writer) {
	fmt.Fprintln(w, "Hexapod: an IPv6-first network for Kubernetes and containers.\n\nUsage: hexapod COMMAND [ARGUMENT ...]\n\nCommands:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\n`hexapod COMMAND --help` tells more.")
}
