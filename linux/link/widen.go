package link

import (
	"errors"

	"hexapod.dev/linux/rtnl"
)

// Widen lets links that are not endpoints' take super-packets of a size in bytes, and make them of what they receive. Those that take larger
// ones already stay as they are, like those that do not exist.
func (t *Table) Widen(names []string, size int) error {
	var errs []error
	for _, name := range names {
		l, ok, err := t.conn.Link(name)
		if err == nil && ok && (l.Segments < size || l.Merged < size) {
			err = t.do(t.conn, rtnl.SetSegments(l.Index, name, max(size, l.Segments)))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
