package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/local"
	"hexapod.dev/model/ipam"
)

const ipamAbout = `Looks after the addresses of this host and the journal that remembers them.`

func ipamVerbs() []command {
	return []command{
		{name: "status", summary: "say whether addresses are given out, and if not, why", usage: queryUsage, run: runIPAMStatus},
		{name: "accept-clock", summary: "you looked at the clock of this host, and it is right", usage: "[--run DIR]", run: runAcceptClock},
		{name: "verify", summary: "read a whole journal and check it", usage: "[--journal DIR] [-o table|json]", run: runIPAMVerify},
	}
}

// ipamStatus is what `hexapod ipam status` prints.
type ipamStatus struct {
	Host      string `json:"host"`
	Prefix    string `json:"prefix"`
	Endpoints int    `json:"endpoints"`
	Given     bool   `json:"given"` // addresses are given out
	Why       string `json:"why,omitempty"`
}

func runIPAMStatus(ctx context.Context, env environment, args []string) error {
	q := newQuery(env, "Says whether addresses are given out, and if not, why. Exits with 1 if not.")
	if help, err := q.parse(args); help || err != nil {
		return err
	}
	agent := local.NewClient(*q.run)
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
	if *q.output == formatJSON {
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

func runAcceptClock(ctx context.Context, env environment, args []string) error {
	f := newFlags(env, "Lets the agent believe the clock of this host once, because you looked at it and it is right.")
	run := f.runDir()
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	if err := local.NewClient(*run).AcceptClock(ctx); err != nil {
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

func runIPAMVerify(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Reads every segment of a journal: checksums, the shape of each record, no stamp twice. Exits with 1 on damage.")
	dir := f.String("journal", filepath.Join(defaultStateDir, "journal"), "`DIR` folder of the journal, or of copies of its segments")
	output := f.output()
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	reports, err := allocation.Verify(journal.Dir(*dir))
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
	if *output == formatJSON {
		err = printJSON(env.stdout, rows)
	} else {
		err = printTable(env.stdout, []string{"SEGMENT", "DAY", "RECORDS", "BYTES", "STATE"}, table)
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d of %d segments in %s are damaged", bad, len(reports), *dir)
	}
	return err
}
