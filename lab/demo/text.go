package demo

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"hexapod.dev/lab"
)

// printRows writes rows with their columns aligned.
func printRows(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush() // the report's writer fails as a whole or not at all
}

// hops names the machines on a path, the last one left out: it is the row itself.
func hops(l *lab.Lab, path []netip.Addr) string {
	words := make([]string, 0, len(path))
	for _, a := range path[:len(path)-1] {
		words = append(words, l.NameOf(a))
	}
	if len(words) == 0 {
		return "direct"
	}
	return strings.Join(words, " > ")
}

func micro(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d.Microseconds())/1000) }
