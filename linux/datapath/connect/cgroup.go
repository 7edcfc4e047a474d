package connect

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoCgroup2 says that no cgroup of version 2 is in the mount table.
var ErrNoCgroup2 = errors.New("no cgroup2 file system is mounted: mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)")

// Root returns the top of the cgroup2 hierarchy as this process sees it. All its processes are below it.
func Root() (string, error) {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("find cgroup2 in the mount table: %w", err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[2] != "cgroup2" || !slices.Contains(strings.Split(f[3], ","), "rw") {
			continue
		}
		var st unix.Statfs_t
		if unix.Statfs(f[1], &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC { // another mount may hide it
			return f[1], nil
		}
	}
	return "", ErrNoCgroup2
}
