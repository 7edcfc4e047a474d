package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
)

// rackCapacity is one row of `plan capacity`.
type rackCapacity struct {
	Cluster string            `json:"cluster"`
	Rack    string            `json:"rack"`
	Usage   addressplan.Usage `json:"usage"`
	Held    *uint64           `json:"held,omitempty"`   // numbers taken in the long run, with a churn
	FullAt  *time.Time        `json:"fullAt,omitempty"` // none: never
}

func runPlanCapacity(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Counts what each level holds and each rack has left. With --per-day N and --life L it tells when a rack is full:\nN new hosts a day that live L days hold N x (L + rest) numbers; if the rack has as many, it is never full.")
	dir, output := f.config(), f.output()
	var churn addressplan.Churn
	f.Uint64Var(&churn.PerDay, "per-day", 0, "`N` new hosts a day in each rack")
	life := v1alpha1.Duration{}
	f.TextVar(&life, "life", v1alpha1.Duration{}, "`DURATION` of a host's life, for example 9d")
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	if life.Seconds() > 0 && churn.PerDay == 0 {
		return usagef("--life means something only with --per-day: how many hosts come each day?")
	}
	p, err := loadPlan(*dir)
	if err != nil {
		return err
	}
	churn.Life = addressplan.Seconds(life.Seconds())
	racks, err := rackCapacities(p, churn, planNow())
	if err != nil {
		return err
	}
	if *output == formatJSON {
		return printJSON(env.stdout, struct {
			Levels []addressplan.LevelCount `json:"levels"`
			Racks  []rackCapacity           `json:"racks"`
		}{p.Capacity(), racks})
	}
	return printCapacity(env, p, racks, churn)
}

func rackCapacities(p addressplan.Plan, churn addressplan.Churn, now addressplan.Seconds) ([]rackCapacity, error) {
	rows := []rackCapacity{}
	for _, c := range p.Clusters {
		for _, r := range c.Racks {
			u, err := p.Usage(c, r, now)
			if err != nil {
				return nil, err
			}
			row := rackCapacity{Cluster: c.Name, Rack: r.Name, Usage: u}
			if churn.PerDay > 0 {
				fc, err := p.ForecastRack(u, churn, now)
				if err != nil {
					return nil, err
				}
				row.Held = &fc.Held
				if !fc.Never {
					at := time.Unix(ipam.Seconds(fc.FullAt).Unix(), 0).UTC()
					row.FullAt = &at
				}
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func printCapacity(env environment, p addressplan.Plan, racks []rackCapacity, churn addressplan.Churn) error {
	var levels [][]string
	for _, n := range p.Capacity() {
		name := n.Level.String()
		switch {
		case n.Edge && p.Lengths.EdgeCluster == p.Lengths.Cluster:
			continue // no cluster is different from the others
		case n.Edge:
			name = "edge " + name
		}
		levels = append(levels, []string{name, "/" + strconv.Itoa(n.Bits), strconv.FormatUint(n.Each, 10), strconv.FormatUint(n.Total, 10)})
	}
	if err := printTable(env.stdout, []string{"LEVEL", "LENGTH", "IN EACH", "IN THE FABRIC"}, levels); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout)
	header := []string{"CLUSTER", "RACK", "HOSTS", "LIVING", "RESTING", "FREE"}
	if churn.PerDay > 0 {
		header = append(header, "HELD", "FULL")
	}
	var rows [][]string
	for _, r := range racks {
		row := []string{r.Cluster, r.Rack, count(r.Usage.Total), count(r.Usage.Living), count(r.Usage.Resting), count(r.Usage.Free())}
		if r.Held != nil {
			full := "never"
			if r.FullAt != nil {
				full = r.FullAt.Format(time.DateOnly)
			}
			row = append(row, count(*r.Held), full)
		}
		rows = append(rows, row)
	}
	return printTable(env.stdout, header, rows)
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }
