// Command hexapod is an IPv6-first network for Kubernetes and containers: the daemon of a host and every tool beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes mean something: a script can tell a bad call from a failed one.
const (
	exitOK     = 0
	exitFailed = 1 // the call was understood and did not succeed
	exitUsage  = 2 // the call was not understood; nothing was done
)

// command is one word of the command line: a verb that runs, or a group of verbs.
type command struct {
	name    string
	summary string // its line in the help of what is above it; empty: not for people, and not listed
	usage   string // of a verb: its flags and words
	run     func(ctx context.Context, env environment, args []string) error
	about   string // of a group: what its verbs are for
	verbs   []command
}

// environment is what a verb may touch of the process, so that tests need no process, and how it was called.
type environment struct {
	stdout, stderr io.Writer
	uid            int    // who calls; 0 is root
	path           string // the words that led to the verb, such as "plan show"
	usage          string // its command.usage
}

// commands in the order of `hexapod help`.
func commands() []command {
	return []command{
		{name: "plan", summary: "make, show and check an address plan, write it for other programs", about: planAbout, verbs: planVerbs()},
		{name: "lab", summary: "make a fabric of network namespaces on this machine", about: labAbout, verbs: labVerbs()},
		{name: "check", summary: "check a configuration folder as the agent does", usage: checkUsage, run: runCheck},
		{name: "identity", summary: "give numbers to sets of labels", about: identityAbout, verbs: identityVerbs()},
		{name: "agent", summary: "run the daemon of this host", usage: agentUsage, run: runAgent},
		{name: "controller", summary: "run the controller of a Kubernetes cluster", usage: controllerUsage, run: runController},
		{name: "install", summary: "put the CNI plugin where the container runtime of this host looks for it", usage: installUsage, run: runInstall},
		{name: "status", summary: "show what the agent has done, and what not and why", usage: queryUsage, run: runStatus},
		{name: "endpoints", summary: "list the endpoints of this host, or of a cluster", usage: endpointsUsage, run: runEndpoints},
		{name: "routes", summary: "list the routes of this host", usage: queryUsage, run: runRoutes},
		{name: "services", summary: "list the services that clients on this host are led to", usage: queryUsage, run: runServices},
		{name: "flows", summary: "list the flows of this host's endpoints, or follow what is dropped", usage: flowsUsage, run: runFlows},
		{name: "trace", summary: "tell what becomes of a packet, step by step", usage: traceUsage, run: runTrace},
		{name: "policy", summary: "tell which flows may begin, and which rule says so", about: policyAbout, verbs: policyVerbs()},
		{name: "dns", summary: "show how lookups of this host's endpoints are answered, and why", about: dnsAbout, verbs: dnsVerbs()},
		{name: "nat64", summary: "show what this host translates between IPv6 and IPv4", about: nat64About, verbs: nat64Verbs()},
		{name: "bgp", summary: "show the BGP peers of this host, what they offer and what they are told", about: bgpAbout, verbs: bgpVerbs()},
		{name: "drain", summary: "take this host out of service", usage: drainUsage, run: runDrain},
		{name: "whereis", summary: "tell where an address lies, who has it, and since when", usage: whereisUsage, run: runWhereis},
		{name: "ipam", summary: "look after the addresses of this host and their journal", about: ipamAbout, verbs: ipamVerbs()},
		{name: "child", usage: "NAME", run: runChild},
		{name: "version", summary: "print the version of this build", usage: "[-o table|json]", run: runVersion},
	}
}

const about = "Hexapod: an IPv6-first network for Kubernetes and containers."

// usageError is an error of the call itself: the program exits with 2 and points to help.
type usageError struct{ error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, environment{stdout: os.Stdout, stderr: os.Stderr, uid: os.Geteuid()}, os.Args[1:]))
}

func run(ctx context.Context, env environment, args []string) int {
	switch {
	case len(args) > 1 && args[0] == "help":
		args = append(args[1:len(args):len(args)], "--help")
	case len(args) == 1 && args[0] == "--version":
		args = []string{"version"}
	}
	c, path := command{about: about, verbs: commands()}, []string{"hexapod"}
	for c.run == nil {
		if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
			printHelp(env.stdout, strings.Join(path, " "), c)
			return exitOK
		}
		next, ok := c.verb(args[0])
		if !ok {
			fmt.Fprintf(env.stderr, "%[1]s: no command %[2]q\nSee: %[1]s --help\n", strings.Join(path, " "), args[0])
			return exitUsage
		}
		c, path, args = next, append(path, args[0]), args[1:]
	}
	env.path, env.usage = strings.Join(path[1:], " "), c.usage
	return env.ended(c.run(ctx, env, args))
}

// ended says what became of a call and returns the exit code that means it; nil is success.
func (env environment) ended(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(env.stderr, "hexapod %[1]s: %[2]v\nSee: hexapod %[1]s --help\n", env.path, err)
		return exitUsage
	}
	fmt.Fprintf(env.stderr, "hexapod %s: %v\n", env.path, err)
	if errors.Is(err, fs.ErrPermission) && env.uid != 0 {
		fmt.Fprintf(env.stderr, "You are not root: try sudo hexapod %s\n", env.path)
	}
	return exitFailed
}

func (c command) verb(name string) (command, bool) {
	for _, v := range c.verbs {
		if v.name == name {
			return v, true
		}
	}
	return command{}, false
}

// printHelp is the help of a group; verbs print their own.
func printHelp(w io.Writer, path string, c command) {
	fmt.Fprintf(w, "%s\n\nUsage: %s COMMAND [ARGUMENT ...]\n\nCommands:\n", c.about, path)
	width := 0
	for _, v := range c.verbs {
		width = max(width, len(v.name))
	}
	for _, v := range c.verbs {
		if v.summary != "" {
			fmt.Fprintf(w, "  %-*s  %s\n", width, v.name, v.summary)
		}
	}
	fmt.Fprintf(w, "\n`%s COMMAND --help` tells more. Exit codes: 0 done, 1 not done, 2 the call was not understood.\n", path)
}
