package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
)

// Severity tells whether a Problem stops the configuration from being used.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // refused
	Warning Severity = "warning" // used, and said
)

// Problem is one thing that is wrong with one field of one document.
type Problem struct {
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`   // from 1; 0: not known
	Column   int      `json:"column,omitempty"` // from 1
	Kind     string   `json:"kind,omitempty"`
	Name     string   `json:"name,omitempty"`
	Field    string   `json:"field,omitempty"` // for example spec.clusters[0].racks[1].number
	Severity Severity `json:"severity"`
	What     string   `json:"what"` // what is wrong
	Next     string   `json:"next"` // what to do
}

// String returns `file:line:column: Kind name: spec.field: what is wrong; what to do`. What is not known is left out; a
// warning says so after the place, as compilers do.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if object := strings.TrimSpace(p.Kind + " " + p.Name); object != "" {
		b.WriteString(object + ": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.What)
	if p.Next != "" {
		b.WriteString("; " + p.Next)
	}
	return b.String()
}

// Problems is a list of problems as an error: one line each.
type Problems []Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Errors returns the problems that refuse the configuration.
func (p Problems) Errors() Problems { return p.only(Error) }

// Warnings returns the problems that do not refuse the configuration.
func (p Problems) Warnings() Problems { return p.only(Warning) }

func (p Problems) only(s Severity) Problems {
	return slices.DeleteFunc(slices.Clone(p), func(q Problem) bool { return q.Severity != s })
}

// Sort orders problems by place: file, line, column, then words. Equal ones become one.
func (p Problems) Sort() Problems {
	p = slices.Clone(p)
	slices.SortStableFunc(p, comparePlace)
	return slices.Compact(p)
}

func comparePlace(a, b Problem) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	if a.Column != b.Column {
		return a.Column - b.Column
	}
	return strings.Compare(a.String(), b.String())
}

// Position is a place in a file; lines and columns count from 1.
type Position struct{ Line, Column int }

// Source is where an object was written: the file, and the place of every field in it.
// The zero value belongs to objects that came from no file.
type Source struct {
	File  string
	start Position
	at    map[string]Position
}

// Position returns the place of a field such as spec.prefix, or of the nearest thing around it that was written.
func (s Source) Position(field string) Position {
	for field != "" {
		if p, ok := s.at[field]; ok {
			return p
		}
		cut := strings.LastIndexAny(field, ".[")
		if cut < 0 {
			break
		}
		field = field[:cut]
	}
	return s.start
}

// ProblemAt makes an error about one field of an object, with its place.
func ProblemAt(o Object, field, what, next string) Problem {
	h := o.Head()
	p := Problem{File: h.Source.File, Kind: h.Kind, Name: h.ObjectName(), Field: field, Severity: Error, What: what, Next: next}
	at := h.Source.Position(field)
	p.Line, p.Column = at.Line, at.Column
	return p
}

// report gathers the problems of one object.
type report struct {
	object   Object
	problems Problems
}

func (r *report) errorf(field, next, format string, a ...any) {
	r.problems = append(r.problems, ProblemAt(r.object, field, fmt.Sprintf(format, a...), next))
}

func (r *report) warnf(field, next, format string, a ...any) {
	p := ProblemAt(r.object, field, fmt.Sprintf(format, a...), next)
	p.Severity = Warning
	r.problems = append(r.problems, p)
}
