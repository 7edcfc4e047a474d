package agent

import (
	"errors"
	"io"
	"slices"
)

// closers closes what was opened, last first.
type closers struct{ opened []io.Closer }

func (c *closers) add(o io.Closer) { c.opened = append(c.opened, o) }

// Close closes all and joins the errors.
func (c *closers) Close() error {
	var errs []error
	for _, o := range slices.Backward(c.opened) {
		errs = append(errs, o.Close())
	}
	c.opened = nil
	return errors.Join(errs...)
}
