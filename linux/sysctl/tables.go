package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hexapod.dev/model/desired"
	"hexapod.dev/model/diff"
)

// NeighboursElsewhere is why the size of the neighbour table is not set.
const NeighboursElsewhere desired.Why = "one table serves all network namespaces of the machine, and only the first of them shows its size; an agent there sets it"

// Sizes of the kernel's tables: below them a host with many neighbours or destinations loses some of them under load. Larger ones
// stay.
var (
	// The kernel forgets neighbours from the first on, hurries from the second on, and takes no new one at the third
	// (arp(7), gc_thresh1 to 3). It begins with 128, 512 and 1024. The third comes first, so that the order holds at every moment.
	neighbourSizes = []size{
		{"net/ipv6/neigh/default/gc_thresh3", 16384},
		{"net/ipv6/neigh/default/gc_thresh2", 8192},
		{"net/ipv6/neigh/default/gc_thresh1", 4096},
	}
	// Before Linux 6.3 the kernel counted every destination it had an exception for against this, and at 4096 said that the
	// network is unreachable. Later kernels have no such limit.
	routeSize = size{"net/ipv6/route/max_size", 1 << 20}
)

type size struct {
	key   Key
	least int
}

// Tables makes the kernel's tables large enough. What is larger stays. The names of tables that are not this host's to set are in
// the second result, with the reason.
func (c *Care) Tables(ctx context.Context) (delta diff.Delta[Key], left []desired.Undone, err error) {
	if err := ctx.Err(); err != nil {
		return delta, nil, err
	}
	sizes := neighbourSizes
	if _, err := c.settings.Read(sizes[0].key); errors.Is(err, fs.ErrNotExist) {
		sizes = nil
		left = append(left, desired.Undone{Kind: "table", Name: "neighbours", Why: NeighboursElsewhere})
	}
	if c.kernel.before(6, 3) {
		sizes = append(sizes[:len(sizes):len(sizes)], routeSize)
	}
	var errs []error
	for _, s := range sizes {
		raised, err := c.settings.raise(s)
		errs = append(errs, err)
		if raised {
			delta.Change = append(delta.Change, s.key)
		}
	}
	return delta, left, errors.Join(errs...)
}

// raise makes a setting at least as large as s says.
func (t *Table) raise(s size) (raised bool, err error) {
	err = t.do(func() error {
		text, err := t.read(s.key)
		if err != nil {
			return err
		}
		have, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("setting %s: it says %q, want a number", s.key, text)
		}
		if have >= s.least {
			return nil
		}
		raised, err = t.set(s.key, strconv.Itoa(s.least))
		return err
	})
	return raised, err
}

// release is the version of a kernel.
type release struct{ major, minor int }

func (r release) before(major, minor int) bool {
	return r.major < major || r.major == major && r.minor < minor
}

// runningKernel reads the version of this kernel (uname(2)).
func runningKernel() (release, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return release{}, fmt.Errorf("version of the kernel: %w", err)
	}
	return parseRelease(unix.ByteSliceToString(u.Release[:]))
}

func parseRelease(text string) (release, error) {
	var r release
	rest := ""
	if n, err := fmt.Sscanf(strings.TrimSpace(text), "%d.%d%s", &r.major, &r.minor, &rest); n < 2 {
		return release{}, fmt.Errorf("version of the kernel %q: want two numbers with a dot between them: %w", text, err)
	}
	return r, nil
}
