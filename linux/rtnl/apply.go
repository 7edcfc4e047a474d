package rtnl

import (
	"context"
	"errors"

	"hexapod.dev/model/diff"
)

// Changes makes the message for each name of a delta.
type Changes struct {
	Remove, Add, Change func(name string) *Request
}

// Apply sends what a delta asks for, removals first, at most MaxBatch messages at once, and returns the part of the delta
// that the kernel took. Refusals are joined into the error and do not keep it from the rest; the end of ctx does.
func Apply(ctx context.Context, c *Conn, delta diff.Delta[string], make Changes) (done diff.Delta[string], err error) {
	var errs []error
	run := func(names []string, request func(string) *Request, into *[]string) {
		for len(names) > 0 && ctx.Err() == nil {
			n := min(len(names), MaxBatch)
			batch := []*Request{}
			for _, name := range names[:n] {
				batch = append(batch, request(name))
			}
			errs = append(errs, c.Do(batch...))
			for i, r := range batch {
				if r.Err() == nil {
					*into = append(*into, names[i])
				}
			}
			names = names[n:]
		}
	}
	run(delta.Remove, make.Remove, &done.Remove)
	run(delta.Add, make.Add, &done.Add)
	run(delta.Change, make.Change, &done.Change)
	return done, errors.Join(append(errs, ctx.Err())...)
}
