package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Folders that several verbs know, unless a flag names another.
const (
	defaultConfigDir = "/etc/hexapod"
	defaultStateDir  = "/var/lib/hexapod"
	defaultRunDir    = "/run/hexapod" // where agent and command line meet
)

// verbFlags are the flags and words of one verb. Flags may stand before, between and behind words; "--" ends them.
type verbFlags struct {
	*flag.FlagSet
	env   environment
	about string
	words []string
}

// newFlags makes the flags of the verb that was called; about is what its help says first.
func newFlags(env environment, about string) *verbFlags {
	f := &verbFlags{FlagSet: flag.NewFlagSet(env.path, flag.ContinueOnError), env: env, about: about}
	f.SetOutput(io.Discard) // run prints errors, and parse prints help
	return f
}

// config adds the folder that most verbs read.
func (f *verbFlags) config() *string {
	return f.String("config", defaultConfigDir, "`DIR` folder of YAML files")
}

// runDir adds the folder where the agent is asked.
func (f *verbFlags) runDir() *string {
	return f.String("run", defaultRunDir, "`DIR` folder of the agent's sockets")
}

// output adds the choice between a table and JSON.
func (f *verbFlags) output() *format {
	o := formatTable
	f.Var(&o, "o", "`table|json` for a person or for a program")
	return &o
}

// parse reads a call. want names its words: in brackets what may be left out, with dots what may stand more than once. help is
// true when help was all that the caller wanted, and has it.
func (f *verbFlags) parse(args []string, want ...string) (help bool, err error) {
	for {
		if help, err = f.parseFlags(args); help || err != nil {
			return help, err
		}
		read := len(args) - f.NArg()
		if f.NArg() == 0 || read > 0 && args[read-1] == "--" {
			f.words = append(f.words, f.Args()...)
			return false, f.count(want)
		}
		f.words, args = append(f.words, f.Arg(0)), f.Args()[1:]
	}
}

// parseCommand is parse for a verb that hands words on: from the first one on they are not its own.
func (f *verbFlags) parseCommand(args []string, want ...string) (help bool, err error) {
	if help, err = f.parseFlags(args); help || err != nil {
		return help, err
	}
	f.words = f.Args()
	return false, f.count(want)
}

func (f *verbFlags) parseFlags(args []string) (help bool, err error) {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.printHelp()
		return true, nil
	case err != nil:
		if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
			return false, usagef("no flag %s", dashes(name))
		}
		return false, usageError{err}
	}
	return false, nil
}

// count refuses words that are missing or too many.
func (f *verbFlags) count(want []string) error {
	least, most := 0, len(want)
	for _, w := range want {
		if !strings.HasPrefix(w, "[") {
			least++
		}
		if strings.Contains(w, "...") {
			most = len(f.words)
		}
	}
	switch {
	case len(f.words) < least:
		return usagef("want %s", strings.Join(want, " "))
	case len(f.words) > most && most == 0:
		return usagef("takes no words, got %q", strings.Join(f.words, " "))
	case len(f.words) > most:
		return usagef("want %s alone, got %q", strings.Join(want, " "), strings.Join(f.words, " "))
	}
	return nil
}

// printHelp lists the flags under their synopsis. The text of a flag begins with the placeholder of its value, in backquotes.
func (f *verbFlags) printHelp() {
	w := f.env.stdout
	fmt.Fprintf(w, "%s\n\nUsage: hexapod %s %s\n\nFlags:\n", f.about, f.env.path, f.env.usage)
	var rows [][2]string
	width := 0
	f.VisitAll(func(each *flag.Flag) {
		value, text := flag.UnquoteUsage(each)
		name := strings.TrimSpace(dashes(each.Name) + " " + value)
		text = strings.TrimPrefix(text, value+" ")
		if !slices.Contains([]string{"", "0", "0s", "false"}, each.DefValue) {
			text += " (default " + each.DefValue + ")"
		}
		rows = append(rows, [2]string{name, text})
		width = max(width, len(name))
	})
	for _, r := range rows {
		fmt.Fprintf(w, "  %-*s  %s\n", width, r[0], r[1])
	}
}

// dashes writes the name of a flag as the documents do.
func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
