// Command policy measures how fast policies get into the kernel: 10,000 of them at once, and one change among them.
//
// The way is that of the agent from what an API server told to the maps of the programs: read the objects, compile the tables of the
// endpoints of one host, write what is different, and let living flows be judged anew. What it shows is time by the clock, on one
// thread but for the garbage collector.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"hexapod.dev/edge/objects"
	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/identity"
	"hexapod.dev/model/policy"
	"hexapod.dev/test/bench/fleet"
	"hexapod.dev/test/paired"
)

// Marks: what has to be reached.
const (
	coldMark   = 5 * time.Second
	changeMark = 100 * time.Millisecond
	memoryMark = 250 // MB
)

// report is what a run leaves behind. It names no host and no path.
type report struct {
	paired.Machine
	Load      string             `json:"load"`
	Policies  int                `json:"policies"`
	IDs       int                `json:"identities"`
	Endpoints int                `json:"endpoints"`
	Rows      int                `json:"map_entries"` // of identities in tables
	Cold      []float64          `json:"cold_ms"`
	Changes   map[string]figures `json:"changes_ms"`
	Memory    int                `json:"peak_mb"` // resident, of this process
	Met       bool               `json:"met"`
}

// figures are those of one kind of change, in milliseconds.
type figures struct {
	Median float64   `json:"median"`
	Worst  float64   `json:"worst"`
	All    []float64 `json:"all"`
}

func main() {
	pairs := flag.Int("pairs", paired.FewestPairs, "changes of each kind")
	results := flag.String("results", "policy.json", "file for the figures")
	version := flag.String("version", "unknown", "version of what is measured")
	flag.Parse()
	if err := run(*pairs, *results, *version); err != nil {
		fmt.Fprintln(os.Stderr, "bench policy:", err)
		os.Exit(1)
	}
}

func run(rounds int, results, version string) (err error) {
	r := report{Machine: paired.This(version), Load: load(), Policies: fleet.Policies, IDs: fleet.Identities, Endpoints: fleet.Endpoints, Changes: map[string]figures{}}
	b, err := newBed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for range 3 {
		took, err := b.cold()
		if err != nil {
			return err
		}
		r.Cold = append(r.Cold, ms(took))
	}
	for _, c := range changes {
		var f figures
		for i := range rounds {
			c.change(b.fleet, i)
			took, err := b.pass()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			f.All = append(f.All, ms(took))
		}
		f.Median, f.Worst = paired.Median(f.All), slices.Max(f.All)
		r.Changes[c.name] = f
	}
	r.Rows, r.Memory = b.rows(), peak()
	r.Met = slices.Max(r.Cold) <= ms(coldMark) && r.Memory <= memoryMark
	for _, f := range r.Changes {
		r.Met = r.Met && f.Worst <= ms(changeMark)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	text = regexp.MustCompile(`\n {2,}([0-9.]+,?)`).ReplaceAll(text, []byte(" $1"))
	fmt.Printf("cold %.0f ms (mark %.0f), memory %d MB (mark %d), %d entries of identities, load %s\n", slices.Max(r.Cold), ms(coldMark), r.Memory, memoryMark, r.Rows, r.Load)
	for _, name := range slices.Sorted(maps.Keys(r.Changes)) {
		fmt.Printf("%-24s median %6.1f ms, worst %6.1f ms (mark %.0f)\n", name, r.Changes[name].Median, r.Changes[name].Worst, ms(changeMark))
	}
	return os.WriteFile(results, append(text, '\n'), 0o644)
}

// bed is the kernel's part of one host, and what an agent keeps beside it.
type bed struct {
	fleet    *fleet.Fleet
	table    *datapath.Table
	writer   *datapath.Policies
	memo     *objects.PolicyMemo
	compiler *policy.Compiler
	compiled policy.Compiled
	undo     []func() error
}

func newBed() (b *bed, err error) {
	b = &bed{fleet: fleet.New(fleet.Policies)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	folder, err := os.MkdirTemp("", "hxpolicy")
	if err != nil {
		return b, err
	}
	b.undo = append(b.undo, func() error { return os.RemoveAll(folder) })
	ns, err := netns.Anonymous()
	if err != nil {
		return b, err
	}
	b.undo = append(b.undo, ns.Close)
	if b.table, err = datapath.Open(datapath.Options{NS: ns, Root: filepath.Join(folder, "none"), Run: folder}); err != nil {
		return b, err
	}
	b.undo = append(b.undo, func() error { return syscall.Unmount(filepath.Join(folder, "bpf"), syscall.MNT_DETACH) }, b.table.Close)
	b.writer, err = b.table.Policies()
	return b, err
}

func (b *bed) close() error {
	var errs []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	return errors.Join(errs...)
}

// cold does everything from nothing, as a host does that begins.
func (b *bed) cold() (time.Duration, error) {
	if _, err := b.writer.Reconcile(policy.Compiled{}); err != nil {
		return 0, err
	}
	b.memo, b.compiler = &objects.PolicyMemo{}, nil
	return b.pass()
}

// pass brings what the fleet is now into the kernel.
func (b *bed) pass() (time.Duration, error) {
	begun := time.Now()
	w, believed := b.fleet.Told().Policies(b.memo, b.fleet.World(), policy.Believed{Trust: identity.TrustBits, Regions: map[netip.Prefix]policy.Form{fleet.Prefix: policy.Wide}})
	if b.compiler == nil {
		b.compiler = policy.NewCompiler(w)
	} else {
		b.compiler = b.compiler.Next(w)
	}
	var err error
	if b.compiled, err = b.compiler.CompileAll(b.fleet.Subjects, believed); err != nil {
		return 0, err
	}
	delta, err := b.writer.Reconcile(b.compiled)
	if err == nil && delta.Empty() {
		err = errors.New("nothing changed: the benchmark measures nothing")
	}
	return time.Since(begun), err
}

// rows counts the entries that identities have in the tables.
func (b *bed) rows() (n int) {
	seen := map[*policy.Table]bool{}
	for _, tables := range b.compiled.Subjects {
		for _, t := range tables {
			if !seen[t] {
				seen[t] = true
				n += len(t.Identities())
			}
		}
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// peak is the most memory that this process had, in MB (VmHWM of proc(5)).
func peak() int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(found[1])) // it matched
	return kb / 1024
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return string(regexp.MustCompile(`^\S+ \S+ \S+`).Find(text))
}
