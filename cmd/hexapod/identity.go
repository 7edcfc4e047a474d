package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
	"hexapod.dev/model/identity"
)

const identityAbout = `Gives numbers to sets of labels, in the identities.yaml of a configuration folder. It must be the same on all hosts.

Usage: hexapod identity add [flags] [KEY=VALUE ...]   number for the endpoints of a namespace with these labels
       hexapod identity list [flags]                  every number, retired ones too
       hexapod identity check [flags]                 is the folder right, and is it the same as on another host

Flags:`

// identityCall is one call of `hexapod identity`.
type identityCall struct {
	dir, namespace string
	output         format
	words          []string
}

func runIdentity(_ context.Context, env environment, args []string) error {
	c := identityCall{output: formatTable}
	f := flag.NewFlagSet("identity", flag.ContinueOnError)
	f.SetOutput(env.stdout)
	f.Usage = func() { fmt.Fprintln(env.stdout, identityAbout); f.PrintDefaults() }
	f.StringVar(&c.dir, "config", "/etc/hexapod", "folder of YAML files")
	f.StringVar(&c.namespace, "namespace", "", "namespace of the endpoints (add)")
	f.Var(&c.output, "o", "table or json")
	verb := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	if help, err := parseFlags(f, args); help || err != nil {
		return err
	}
	c.words = f.Args()
	if verb != "add" && len(c.words) > 0 {
		return usagef("%s takes no arguments, got %q", verb, c.words[0])
	}
	switch verb {
	case "add":
		return c.add(env)
	case "list":
		return c.list(env)
	case "check":
		return c.check(env)
	}
	return usagef("want add, list or check, got %q", verb)
}

// identityRow is one number as it is printed.
type identityRow struct {
	Number    uint16            `json:"number"`
	Hex       string            `json:"hex"` // as addresses show it
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels,omitempty"`
	Retired   *v1alpha1.Time    `json:"retired,omitempty"`
	Added     bool              `json:"added,omitempty"` // by this call
}

func rowOf(o *v1alpha1.Identity) identityRow {
	return identityRow{
		Number: o.Spec.Number, Hex: fmt.Sprintf("%04x", o.Spec.Number),
		Namespace: o.Spec.Namespace, Labels: o.Spec.Labels, Retired: o.Spec.Retired,
	}
}

func (c identityCall) add(env environment) error {
	labels := map[string]string{}
	for _, w := range c.words {
		key, value, ok := strings.Cut(w, "=")
		if _, twice := labels[key]; !ok || twice {
			return usagef("%q: want different labels as KEY=VALUE, after the flags", w)
		}
		labels[key] = value
	}
	o, added, err := file.AddIdentity(c.dir, identity.Set{Namespace: c.namespace, Labels: labels})
	if err != nil {
		return err
	}
	row := rowOf(o)
	row.Added = added
	if c.output == formatJSON {
		return printJSON(env.stdout, row)
	}
	set := identity.Set{Namespace: row.Namespace, Labels: row.Labels}
	if !added {
		_, err = fmt.Fprintf(env.stdout, "identity %s is already that of %s\n", identity.Number(row.Number), set)
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "identity %s is now that of %s\nCopy %s to the other hosts; agents see it by themselves.\n",
		identity.Number(row.Number), set, file.IdentitiesFile)
	return err
}

func (c identityCall) list(env environment) error {
	s, err := file.Load(c.dir)
	if err != nil {
		return err
	}
	rows := []identityRow{}
	table := [][]string{}
	for _, o := range s.Objects.Identities {
		r := rowOf(o)
		state := "in use"
		if r.Retired != nil {
			state = "retired " + r.Retired.Format(time.RFC3339)
		}
		labels, _ := strings.CutPrefix(identity.Set{Namespace: "-", Labels: r.Labels}.String(), "- ")
		rows = append(rows, r)
		table = append(table, []string{fmt.Sprint(r.Number), r.Hex, orDash(r.Namespace), labels, state})
	}
	if c.output == formatJSON {
		return printJSON(env.stdout, rows)
	}
	return printTable(env.stdout, []string{"NUMBER", "HEX", "NAMESPACE", "LABELS", "STATE"}, table)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// identityCheck is what `hexapod identity check` says of a folder that is right.
type identityCheck struct {
	InUse       int               `json:"inUse"`
	Retired     int               `json:"retired"`
	Next        uint16            `json:"next,omitempty"` // left out when none is free
	Fingerprint string            `json:"fingerprint"`    // equal on hosts that have the same numbers
	Warnings    v1alpha1.Problems `json:"warnings,omitempty"`
}

func (c identityCall) check(env environment) error {
	s, err := file.Load(c.dir)
	if err != nil {
		return err
	}
	table := s.Model.Identities
	r := identityCheck{Fingerprint: table.Fingerprint()}
	for _, e := range table.Entries() {
		if e.Retired {
			r.Retired++
		} else {
			r.InUse++
		}
	}
	for _, w := range s.Warnings {
		if w.Kind == v1alpha1.KindIdentity {
			r.Warnings = append(r.Warnings, w)
		}
	}
	next, nextErr := table.Next()
	r.Next = uint16(next)
	if c.output == formatJSON {
		return printJSON(env.stdout, r)
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(env.stdout, w)
	}
	if nextErr != nil {
		fmt.Fprintln(env.stdout, nextErr)
	}
	_, err = fmt.Fprintf(env.stdout, "%d in use, %d retired, next %s, fingerprint %s\n", r.InUse, r.Retired, next, r.Fingerprint)
	return err
}
