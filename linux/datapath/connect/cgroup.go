package connect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Root returns the top of the cgroup2 hierarchy as this process sees it: all its processes are below it.
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
		if isCgroup2(f[1]) { // another mount may hide it
			return f[1], nil
		}
	}
	return "", fmt.Errorf("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified, or name its folder with --cgroup")
}

// Below returns the cgroup2 folder that dir is, or that lies in it where the machine has both versions (systemd calls it unified).
func Below(dir string) (string, error) {
	for _, d := range []string{dir, filepath.Join(dir, "unified")} {
		if isCgroup2(d) {
			return d, nil
		}
	}
	return "", fmt.Errorf("%s is no cgroup2: name the folder with cgroup.procs of version 2", dir)
}

func isCgroup2(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}
