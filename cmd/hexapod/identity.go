package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
	"hexapod.dev/model/identity"
)

const identityAbout = `Gives numbers to sets of labels, in the identities.yaml of a configuration folder. It must be the same on all hosts.`

func identityVerbs() []command {
	const usage = "[--config DIR] [-o table|json]"
	return []command{
		{name: "add", summary: "give a number to the endpoints of a namespace with these labels", usage: usage + " [--namespace NAME] [KEY=VALUE ...]", run: runIdentityAdd},
		{name: "retire", summary: "take a number out of use, for good", usage: usage + " NUMBER", run: runIdentityRetire},
		{name: "list", summary: "list every number, retired ones too", usage: usage, run: runIdentityList},
		{name: "check", summary: "say whether the folder is right, and the same as on another host", usage: usage, run: runIdentityCheck},
	}
}

// identityRow is one number as it is printed.
type identityRow struct {
	Number    uint32            `json:"number"`
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

func runIdentityAdd(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Gives the next free number to the endpoints of a namespace with these labels, or prints the number they have.")
	dir, output := f.config(), f.output()
	namespace := f.String("namespace", "", "`NAME` of the endpoints' namespace")
	if help, err := f.parse(args, "[KEY=VALUE ...]"); help || err != nil {
		return err
	}
	labels := map[string]string{}
	for _, w := range f.words {
		key, value, ok := strings.Cut(w, "=")
		if _, twice := labels[key]; !ok || twice {
			return usagef("%q: want different labels as KEY=VALUE", w)
		}
		labels[key] = value
	}
	o, added, err := file.AddIdentity(*dir, identity.Set{Namespace: *namespace, Labels: labels})
	if err != nil {
		return err
	}
	row := rowOf(o)
	row.Added = added
	if *output == formatJSON {
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

func runIdentityRetire(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Takes a number out of use: new endpoints do not get it. Its entry stays, so that no other set of labels ever has it.")
	dir, output := f.config(), f.output()
	if help, err := f.parse(args, "NUMBER"); help || err != nil {
		return err
	}
	n, err := strconv.ParseUint(f.words[0], 0, 32)
	if err != nil {
		return usagef("%q: want a number as hexapod identity list shows it, 423 or 0x01a7", f.words[0])
	}
	o, err := file.RetireIdentity(*dir, identity.Number(n), time.Now())
	if err != nil {
		return err
	}
	row := rowOf(o)
	if *output == formatJSON {
		return printJSON(env.stdout, row)
	}
	_, err = fmt.Fprintf(env.stdout, "identity %s, that of %s, is out of use\nCopy the folder to the other hosts; agents see it by themselves.\n",
		identity.Number(n), identity.Set{Namespace: row.Namespace, Labels: row.Labels})
	return err
}

func runIdentityList(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Lists every number of the folder, retired ones too.")
	dir, output := f.config(), f.output()
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	s, err := file.Load(*dir)
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
	if *output == formatJSON {
		return printJSON(env.stdout, rows)
	}
	return printTable(env.stdout, []string{"NUMBER", "HEX", "NAMESPACE", "LABELS", "STATE"}, table)
}

// identityCheck is what `hexapod identity check` says of a folder that is right.
type identityCheck struct {
	InUse       int               `json:"inUse"`
	Retired     int               `json:"retired"`
	Next        uint32            `json:"next,omitempty"` // left out when none is free
	Fingerprint string            `json:"fingerprint"`    // equal on hosts that have the same numbers
	Warnings    v1alpha1.Problems `json:"warnings,omitempty"`
}

func runIdentityCheck(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Says whether the folder is right. The fingerprint is equal on all hosts that have the same numbers.")
	dir, output := f.config(), f.output()
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	s, err := file.Load(*dir)
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
	r.Next = uint32(next)
	if *output == formatJSON {
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
