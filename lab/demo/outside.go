package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
	"hexapod.dev/lab/topology"
)

// publishedOne is the endpoint that is opened to the outside, with all that have its labels.
const publishedOne = "r2h2-e1"

// outside shows who is reached from outside: nobody, and then what is published. r is the check before anything was.
func outside(ctx context.Context, o Options, l *lab.Lab, r lab.Report) error {
	if n := len(l.Endpoints()); r.Refused() != n {
		return fmt.Errorf("the outside was refused by %d of %d endpoints, and nothing is published", r.Refused(), n)
	}
	fmt.Fprintf(o.Out, "\nThe outside asked %d endpoints, and their hosts refused it %d times: %q\n", len(l.Endpoints()), r.Refused(), r.Rule())
	o.Report("publishing an endpoint")
	names, text, err := l.Publish(ctx, publishedOne)
	if err != nil {
		return err
	}
	pairs, err := l.CheckOutside(ctx)
	again := lab.Report{Pairs: pairs}
	if err := errors.Join(err, again.Err()); err != nil {
		return err
	}
	if reached := len(pairs) - again.Refused(); reached != len(names) {
		return fmt.Errorf("the outside reached %d endpoints, and %d are published", reached, len(names))
	}
	fmt.Fprintf(o.Out, "\nPublished on every host, by a file:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  "))
	fmt.Fprintf(o.Out, "\n%s reaches %s by HTTP on port %d. The other %d refuse it as before.\n", topology.Outside, strings.Join(names, ", "), probe.Port, again.Refused())
	return nil
}
