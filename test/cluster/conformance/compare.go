package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Reference is the network that others are compared with.
const Reference = "ptp"

// maxExceptions bounds what may be excused.
const maxExceptions = 3

// exceptions are specs that pass on the reference and need not pass on other networks, each with the upstream thread that says why.
var exceptions = map[string]string{}

// Comparison is what became of the specs on each network or kind of cluster, as a file that people read and the next run updates.
type Comparison struct {
	Title   string                       // what specs they are; its last word is the version of Kubernetes
	Columns map[string]map[string]string // network to spec to word
	From    map[string]string            // network to the version of the tree and the state of the machine it ran on
}

// TitleOfOthers heads the comparison of Others, TitleOfNetwork that of Network.
func TitleOfOthers(version string) string {
	return "upstream's [sig-network] specs that need no feature and no cluster for themselves, Kubernetes " + version
}

// TitleOfNetwork is the first line of the comparison of Network.
func TitleOfNetwork(version string) string {
	return "upstream's [sig-network] conformance specs on each kind of cluster, Kubernetes " + version
}

// Words of a comparison.
const (
	passed = "ok"
	failed = "FAIL"
	absent = "-" // it did not run there
)

// ReadComparison reads the file of an earlier run. A file that does not exist, or of another title, is an empty comparison.
func ReadComparison(file, title string) (Comparison, error) {
	empty := newComparison(title)
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, fmt.Errorf("read the last comparison: %w", err)
	}
	defer f.Close()
	c, err := parseComparison(f)
	if err != nil {
		return empty, fmt.Errorf("read the last comparison %s: %w", file, err)
	}
	if c.Title != title {
		return empty, nil
	}
	return c, nil
}

const (
	remark = "# "
	heads  = remark + "columns: "
)

func newComparison(title string) Comparison {
	return Comparison{Title: title, Columns: map[string]map[string]string{}, From: map[string]string{}}
}

// passedFrom is the line that sums a column up, as Write writes it.
var passedFrom = regexp.MustCompile(`^# (\S+): \d+ of \d+ passed; (.+)$`)

func parseComparison(r io.Reader) (Comparison, error) {
	c := newComparison("")
	var networks []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if v, ok := strings.CutPrefix(line, remark); ok && c.Title == "" {
			c.Title = v
		}
		if m := passedFrom.FindStringSubmatch(line); m != nil {
			c.From[m[1]] = m[2]
		}
		if v, ok := strings.CutPrefix(line, heads); ok {
			networks = strings.Fields(v)
			for _, n := range networks {
				c.Columns[n] = map[string]string{}
			}
		}
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.SplitN(line, "\t", len(networks)+1)
		if len(networks) == 0 || len(words) != len(networks)+1 {
			return c, fmt.Errorf("line %q: want a word for each of %d networks and a spec", line, len(networks))
		}
		for i, n := range networks {
			if w := words[i]; w != absent {
				c.Columns[n][words[len(networks)]] = w
			}
		}
	}
	return c, lines.Err()
}

// Add puts the results of a run in the place of those that the network had. from says what ran where.
func (c Comparison) Add(network, from string, r Results) {
	column := map[string]string{}
	for _, x := range r {
		column[x.Spec] = passed
		if !x.Passed {
			column[x.Spec] = failed
		}
	}
	c.Columns[network], c.From[network] = column, from
}

// networks are the columns, the reference first.
func (c Comparison) networks() []string {
	names := slices.Sorted(maps.Keys(c.Columns))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == Reference:
			return -1
		case b == Reference:
			return 1
		}
		return 0
	})
	return names
}

// Write writes the file.
func (c Comparison) Write(w io.Writer) error {
	names := c.networks()
	specs := map[string]bool{}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", remark, c.Title)
	for _, n := range names {
		good := 0
		for spec, word := range c.Columns[n] {
			specs[spec] = true
			if word == passed {
				good++
			}
		}
		fmt.Fprintf(&b, "# %s: %d of %d passed", n, good, len(c.Columns[n]))
		if c.From[n] != "" {
			b.WriteString("; " + c.From[n])
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s%s\n", heads, strings.Join(names, " "))
	for _, spec := range slices.Sorted(maps.Keys(specs)) {
		for _, n := range names {
			word := c.Columns[n][spec]
			if word == "" {
				word = absent
			}
			b.WriteString(word + "\t")
		}
		b.WriteString(spec + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Worse lists the specs that pass on the reference and do not on a network, without the excused ones. A network that was not run
// is worse in all.
func (c Comparison) Worse(network string) ([]string, error) {
	if len(exceptions) > maxExceptions {
		return nil, fmt.Errorf("%d specs are excused, at most %d may be", len(exceptions), maxExceptions)
	}
	if len(c.Columns[Reference]) == 0 {
		return nil, fmt.Errorf("there is no run with NETWORK=%s to compare with", Reference)
	}
	var worse []string
	for spec, word := range c.Columns[Reference] {
		if word == passed && c.Columns[network][spec] != passed && exceptions[spec] == "" {
			worse = append(worse, spec)
		}
	}
	slices.Sort(worse)
	return worse, nil
}
