package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hexapod.dev/model/identity"
)

// RowWords is a row in words, for people.
type RowWords struct{ Action, Rule, Peers, Ports string }

// Describe returns the rows of a table in words: whom and which ports each matches.
func (t *Table) Describe() []RowWords {
	out := make([]RowWords, len(t.Rows))
	for i, r := range t.Rows {
		out[i] = RowWords{Action: r.Action.String(), Rule: r.Rule, Peers: t.peersOf(i), Ports: t.portsOf(i)}
	}
	return out
}

func (t *Table) peersOf(row int) string {
	if t.Anyone.has(row) {
		return "anybody"
	}
	var words []string
	if t.Outside.has(row) {
		words = append(words, "the outside")
	}
	n := 0
	for number, b := range t.Identities() {
		switch {
		case !b.has(row):
		case number == identity.Unknown:
			words = append(words, "who has no known labels")
		default:
			n++
		}
	}
	if n > 0 {
		words = append(words, fmt.Sprintf("identities: %d", n))
	}
	for _, p := range t.Prefixes {
		switch {
		case !p.Rows.has(row):
		case p.Prefix.IsSingleIP():
			words = append(words, p.Prefix.Addr().String())
		default:
			words = append(words, p.Prefix.String())
		}
	}
	return cmp.Or(some(words), "nobody")
}

func (t *Table) portsOf(row int) string {
	if t.AnyPort.has(row) {
		return "any"
	}
	var words []string
	var open *PortRange // ranges that touch are one for people
	end := func() {
		if open == nil {
			return
		}
		word := fmt.Sprintf("%s %d", open.Protocol, open.First)
		if open.First == 0 && open.Last == 65535 {
			word = open.Protocol.String()
		} else if open.Last > open.First {
			word += fmt.Sprintf("-%d", open.Last)
		}
		words, open = append(words, word), nil
	}
	for _, r := range slices.Clone(t.Ports) {
		if !r.Rows.has(row) {
			continue
		}
		if open != nil && open.Protocol == r.Protocol && open.Last+1 == r.First {
			open.Last = r.Last
			continue
		}
		end()
		open = &r
	}
	end()
	return cmp.Or(some(words), "none")
}

// few is how many of a list are told.
const few = 4

// some joins the first words of a list and tells how many more there are.
func some(words []string) string {
	if len(words) > few {
		words = append(words[:few:few], fmt.Sprintf("and %d more", len(words)-few))
	}
	return strings.Join(words, ", ")
}
