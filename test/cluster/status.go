package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Status prints every component of every node, with the last line of those that are down, and what Kubernetes says of nodes and
// pods. The error names a component that is down.
func (c *Cluster) Status(ctx context.Context, w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tCOMPONENT\tSTATE\tSINCE\tSTARTS")
	var down []*FailedError
	for _, n := range c.Nodes() {
		services, err := readServices(c.folder(n, "services.json"))
		if err != nil {
			return err
		}
		for _, s := range services {
			state := "running"
			if s.PID == 0 {
				state = s.Ended
				down = append(down, c.failure(n, s))
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\n", n, s.Name, state, time.Since(s.Since).Round(time.Second), s.Starts)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "logs: %s\n\n", c.Logs())
	for _, what := range [][]string{{"get", "nodes", "-o", "wide"}, {"get", "pods", "-A", "-o", "wide"}} {
		out, err := c.kubectl(ctx, nil, what...)
		if err != nil {
			fmt.Fprintf(w, "%v\n", err)
			continue
		}
		fmt.Fprintln(w, out)
	}
	if len(down) > 0 {
		return down[0]
	}
	return nil
}

// tailLines is how much PrintLogs shows of a log.
const tailLines = 20

// PrintLogs prints where the logs are, or the end of those whose names contain one of the words.
func (c *Cluster) PrintLogs(w io.Writer, words []string) error {
	files, err := filepath.Glob(filepath.Join(c.Logs(), "*.log"))
	if err != nil {
		return fmt.Errorf("list the logs: %w", err)
	}
	if len(words) == 0 {
		_, err := fmt.Fprintf(w, "%s\n", c.Logs())
		return err
	}
	for _, file := range files {
		if !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(filepath.Base(file), word) }) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(w, "== %s\n%s\n", file, strings.Join(lines[max(0, len(lines)-tailLines):], "\n"))
	}
	return nil
}
