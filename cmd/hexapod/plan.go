package main

import (
	"fmt"
	"time"

	"hexapod.dev/edge/file"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
)

const planAbout = `Makes, shows and checks an address plan, gives numbers to hosts, and writes the plan for other programs.

Readable public addresses tell outsiders the host, the number of the workload and its birth time. The alternative is
` + "`hexapod plan new --sealed`" + `. It is chosen when the plan is made.`

const planHostAbout = `Gives numbers to hosts, and lets their prefixes rest when they are gone.`

func planVerbs() []command {
	return []command{
		{name: "new", summary: "make a plan for a prefix of yours, or for a new unique local one", usage: "--from PREFIX|ula [--profile default|nibble] [--eks] [--sealed] [--lab] [--racks N] [--hosts N] [--out DIR] [more flags]", run: runPlanNew},
		{name: "show", summary: "show what is used and free, as a tree and as a picture", usage: "[--config DIR] [-o table|json] [--svg FILE]", run: runPlanShow},
		{name: "check", summary: "check a folder, and whether it would renumber hosts of another", usage: "[-o table|json] [--against DIR] [--config DIR | DIR]", run: runPlanCheck},
		{name: "host", summary: "give numbers to hosts that come, and retire those that go", about: planHostAbout, verbs: []command{
			{name: "add", summary: "give a host the next number of its rack", usage: "[--config DIR] [--cluster NAME] --rack RACK [--mac MAC] NAME", run: runPlanHostAdd},
			{name: "retire", summary: "write that a host is gone: its prefix rests", usage: "[--config DIR] NAME", run: runPlanHostRetire},
		}},
		{name: "capacity", summary: "count what each level holds, and say when a rack is full", usage: "[--config DIR] [--per-day N --life DURATION] [-o table|json]", run: runPlanCapacity},
		{name: "render", summary: "write the plan for FRR, BIRD, radvd, Kea, kubeadm, Docker, DNS, nftables", usage: "--for TARGET [--config DIR] [--host NAME | --rack CLUSTER/RACK | --spine N] [--out DIR] [more flags]", run: runPlanRender},
	}
}

// loadPlan reads a folder that must be right, but for its secrets: a plan is drawn and written without them.
func loadPlan(dir string) (addressplan.Plan, error) {
	s, err := loadPlanned(dir)
	return s.Model.Plan, err
}

// loadPlanned is loadPlan with everything else that stands in the folder.
func loadPlanned(dir string) (objects.Set, error) {
	s, err := file.LoadCopy(dir)
	if err != nil {
		return objects.Set{}, fmt.Errorf("read %s: %w", dir, err)
	}
	return s.Set, nil
}

// planNow is the present on the clock by which records of hosts are kept.
func planNow() addressplan.Seconds { return addressplan.Seconds(ipam.FromUnix(time.Now().Unix())) }
