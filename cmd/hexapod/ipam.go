package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/local"
	"hexapod.dev/model/ipam"
)

const ipamAbout = `Looks after the addresses of this host and the journal that remembers them.

Usage: hexapod ipam status [flags]         are addresses given out, and if not, why
       hexapod ipam accept-clock [flags]   you looked at the clock of this host, and it is right
       hexapod ipam verify [flags]         read a whole journal and check it

Flags:`

// ipamCall is one call of `hexapod ipam`.
type ipamCall struct {
	run, journal string
	output       format
}

func runIPAM(ctx context.Context, env environment, args []string) error {
	c := ipamCall{output: formatTable}
	f := flag.NewFlagSet("ipam", flag.ContinueOnError)
	f.SetOutput(env.stdout)
	f.Usage = func() { fmt.Fprintln(env.stdout, ipamAbout); f.PrintDefaults() }
	f.StringVar(&c.run, "run", defaultRunDir, "`folder` of the agent's sockets (status, accept-clock)")
	f.StringVar(&c.journal, "journal", "/var/lib/hexapod/journal", "`folder` of the journal (verify)")
	f.Var(&c.output, "o", "table or json")
	verb := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	if help, err := parseFlags(f, args); help || err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usagef("%s takes no arguments, got %q", verb, f.Arg(0))
	}
	switch verb {
	case "status":
		return c.status(ctx, env)
	case "accept-clock":
		return c.acceptClock(ctx, env)
	case "verify":
		return c.verify(env)
	}
	return usagef("want status, accept-clock or verify, got %q", verb)
}

// ipamStatus is what `hexapod ipam status` prints.
type ipamStatus struct {
	Host      string `json:"host"`
	Prefix    string `json:"prefix"`
	Endpoints int    `json:"endpoints"`
	Given     bool   `json:"given"` // addresses are given out
	Why       string `json:"why,omitempty"`
}

func (c ipamCall) status(ctx context.Context, env environment) error {
	agent := local.NewClient(c.run)
	all, err := agent.Status(ctx)
	if err != nil {
		return err
	}
	endpoints, err := agent.Endpoints(ctx)
	if err != nil {
		return err
	}
	s := ipamStatus{Host: all.Host, Prefix: all.Prefix, Endpoints: len(endpoints), Given: true}
	for _, o := range all.Objects {
		if o.Kind == "clock" && o.State != local.Done {
			s.Given, s.Why = false, o.Why
		}
	}
	if c.output == formatJSON {
		err = printJSON(env.stdout, s)
	} else {
		word := "given out"
		if !s.Given {
			word = "refused"
		}
		err = printTable(env.stdout, []string{"HOST", "PREFIX", "ENDPOINTS", "ADDRESSES"}, [][]string{{s.Host, s.Prefix, fmt.Sprint(s.Endpoints), word}})
	}
	if err == nil && !s.Given {
		err = fmt.Errorf("no address is given out: %s", s.Why)
	}
	return err
}

func (c ipamCall) acceptClock(ctx context.Context, env environment) error {
	if err := local.NewClient(c.run).AcceptClock(ctx); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, "the clock is accepted: addresses are given out")
	return nil
}

// segmentRow is one segment as `hexapod ipam verify` prints it.
type segmentRow struct {
	Segment string `json:"segment"`
	Day     string `json:"day"`
	Records int    `json:"records"`
	Bytes   int64  `json:"bytes"`
	Torn    int64  `json:"torn,omitempty"` // bytes behind them that nobody was answered for
	Problem string `json:"problem,omitempty"`
}

func (c ipamCall) verify(env environment) error {
	reports, err := allocation.Verify(journal.Dir(c.journal))
	if err != nil {
		return err
	}
	rows, table, bad := make([]segmentRow, len(reports)), make([][]string, len(reports)), 0
	for i, r := range reports {
		day := ipam.Seconds(r.Segment.Day) * ipam.Day
		rows[i] = segmentRow{Segment: r.Segment.Name(), Day: strings.TrimSuffix(day.String(), "T00:00:00Z"), Records: r.Records, Bytes: r.Bytes, Torn: r.Torn}
		state := "whole"
		if r.Torn > 0 {
			state = fmt.Sprintf("whole, %d torn bytes behind it that nobody was answered for", r.Torn)
		}
		if r.Problem != nil {
			bad++
			rows[i].Problem = r.Problem.Error()
			state = rows[i].Problem
		}
		table[i] = []string{rows[i].Segment, rows[i].Day, fmt.Sprint(r.Records), fmt.Sprint(r.Bytes), state}
	}
	if c.output == formatJSON {
		err = printJSON(env.stdout, rows)
	} else {
		err = printTable(env.stdout, []string{"SEGMENT", "DAY", "RECORDS", "BYTES", "STATE"}, table)
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d of %d segments in %s are damaged", bad, len(reports), c.journal)
	}
	return err
}
