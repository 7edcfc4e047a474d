package v1alpha1

import (
	"fmt"
	"strings"
)

// unique remembers the first place of each value.
type unique map[string]string

// add reports a value that was there before.
func (u unique) add(r *report, field, value string) {
	if first, twice := u[value]; twice {
		r.errorf(field, "give each its own", "%s is used twice, first by %s", value, first)
		return
	}
	u[value] = field
}

// oneOf reports a word that is none of the known ones.
func oneOf[T ~string](r *report, field string, v T, known ...T) {
	var names []string
	for _, k := range known {
		if v == k {
			return
		}
		if k != "" {
			names = append(names, string(k))
		}
	}
	r.errorf(field, "write "+strings.Join(names, " or "), "%q is not known", string(v))
}

// overlaps reports each pair of n prefixes of one object that share addresses. form is the field, with the index.
func overlaps(r *report, form string, n int, at func(int) Prefix) {
	for i := range n {
		for j := range i {
			a, b := at(i), at(j)
			if a.IsValid() && b.IsValid() && a.Overlaps(b.Prefix) {
				r.errorf(fmt.Sprintf(form, i), "give each its own range", "%s overlaps %s of "+form, a, b, j)
			}
		}
	}
}

// printable reports whether s is one line of text.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return c < ' ' || c >= 0x7f && c <= 0xa0 || c == 0xfffd || c == 0x2028 || c == 0x2029 || c == 0xfeff
	})
}
