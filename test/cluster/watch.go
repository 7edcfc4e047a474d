package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"hexapod.dev/lab"
)

// endsTolerated is how often a component may end while a cluster comes up: a kubelet gives up when its runtime is late.
const endsTolerated = 3

// FailedError says which component does not stay up, and what it said last.
type FailedError struct {
	Node, Component string
	Ended           string // how it ended last
	Log             string // its log file
	Last            string // the last line of it
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s on %s does not stay up: %s\n  log:       %s\n  last line: %s", e.Component, e.Node, e.Ended, e.Log, e.Last)
}

// watch returns a context that ends, with a *FailedError as its cause, when a component does not stay up.
func (c *Cluster) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(look)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := c.failed(endsTolerated); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// failed finds a component that was started more often than ends times and is down, or nil.
func (c *Cluster) failed(ends int) error {
	for _, n := range c.Nodes() {
		services, err := readServices(c.folder(n, "services.json"))
		if err != nil {
			return err
		}
		for _, s := range services {
			if s.PID == 0 && s.Starts >= ends {
				return c.failure(n, s)
			}
		}
	}
	return nil
}

func (c *Cluster) failure(node string, s Service) *FailedError {
	file := logFile(c.Logs(), node, s.Name)
	return &FailedError{Node: node, Component: s.Name, Ended: s.Ended, Log: file, Last: lastLine(file)}
}

// lastLine is the last line of a log that says something.
func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(lines[len(lines)-1])
}

// explain adds to an error which component is down, if one is, and where the logs are.
func (c *Cluster) explain(err error) error {
	var failed *FailedError
	if !errors.As(err, &failed) {
		if down := c.failed(1); down != nil {
			err = fmt.Errorf("%w\n%w", err, down)
		}
	}
	return fmt.Errorf("cluster %s: %w\n  all logs:  %s", c.Options.Name, err, c.Logs())
}

// Preflight tells in words why this machine cannot run a cluster, or returns nil.
func Preflight() error { return errors.Join(lab.Preflight(), programsThere()) }

// programsThere tells which Debian packages are missing.
func programsThere() error {
	var missing []string
	for program, pkg := range map[string]string{
		"ip": "iproute2", "nft": "nftables", "conntrack": "conntrack", "runc": "runc", "busybox": "busybox-static", "mmdebstrap": "mmdebstrap", "sysctl": "procps",
	} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("a cluster needs the Debian packages %s: `make packages` installs them", strings.Join(missing, ", "))
}
