package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Result is what became of one spec.
type Result struct {
	Spec    string // its full name
	Passed  bool
	Seconds float64
	Why     string // first line of its failure
	Skipped string // why it counts neither as passed nor as failed; empty: it counts
}

// Results are the specs that ran, by name.
type Results []Result

// Failed are those that did not pass.
func (r Results) Failed() Results {
	return slices.DeleteFunc(slices.Clone(r), func(x Result) bool { return x.Passed || x.Skipped != "" })
}

// Skipped are those that do not count.
func (r Results) Skipped() Results {
	return slices.DeleteFunc(slices.Clone(r), func(x Result) bool { return x.Skipped == "" })
}

// junit is the part of a JUnit file that ginkgo fills and we read.
type junit struct {
	Cases []struct {
		Name    string   `xml:"name,attr"`
		Seconds float64  `xml:"time,attr"`
		Skipped *message `xml:"skipped"`
		Failure *message `xml:"failure"`
		Error   *message `xml:"error"`
	} `xml:"testsuite>testcase"`
}

type message struct {
	Text string `xml:"message,attr"`
}

// specPrefix marks a spec among the cases; others are what ran before and after all of them.
const specPrefix = "[It] "

// Read reads a JUnit file. A failure outside of the specs is an error: not all of them ran.
func Read(file string) (Results, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	defer f.Close()
	return parse(f)
}

func parse(r io.Reader) (Results, error) {
	var doc junit
	if err := xml.NewDecoder(r).Decode(&doc); err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	var all Results
	for _, c := range doc.Cases {
		bad := c.Failure
		if c.Error != nil {
			bad = c.Error
		}
		name, isSpec := strings.CutPrefix(c.Name, specPrefix)
		switch {
		case c.Skipped != nil:
		case isSpec:
			x := Result{Spec: name, Passed: bad == nil, Seconds: c.Seconds}
			if bad != nil {
				x.Why, _, _ = strings.Cut(strings.TrimSpace(bad.Text), "\n")
			}
			all = append(all, x)
		case bad != nil:
			return nil, fmt.Errorf("%s failed, so not all specs ran: %s", c.Name, bad.Text)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the results have no spec that ran")
	}
	slices.SortFunc(all, func(a, b Result) int { return strings.Compare(a.Spec, b.Spec) })
	return all, nil
}

// Print writes the specs that failed and one line for all: `conformance: 47 of 47 passed`.
func (r Results) Print(w io.Writer, name string) error {
	failed := r.Failed()
	for _, x := range failed {
		if _, err := fmt.Fprintf(w, "FAIL  %6.1f s  %s\n      %s\n", x.Seconds, x.Spec, x.Why); err != nil {
			return err
		}
	}
	skipped := r.Skipped()
	for _, x := range skipped {
		if _, err := fmt.Fprintf(w, "skip            %s: %s\n", x.Spec, x.Skipped); err != nil {
			return err
		}
	}
	counted := len(r) - len(skipped)
	_, err := fmt.Fprintf(w, "%s: %d of %d passed", name, counted-len(failed), counted)
	if err == nil && len(skipped) > 0 {
		_, err = fmt.Fprintf(w, ", %d skipped", len(skipped))
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
