package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Down removes a lab, whatever there is of it. A lab that does not exist is a success.
//
// The order makes it work after a crash at any point: processes first, because with them go the namespaces and so links,
// routes and mounts; the cgroup next; the folder last, because it is what tells that there is something left.
func Down(ctx context.Context, name string) error {
	l, err := locate(name)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := os.Stat(l.dir); errors.Is(err, fs.ErrNotExist) {
		return l.group.Remove()
	}
	lock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := l.group.Remove(); err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("lab %s: remove its folder: %w", name, err)
	}
	// The folder of all labs goes with the last one; ENOTEMPTY means that another one is there.
	_ = os.Remove(Dir)
	return nil
}

// Names lists the labs of this machine, also unfinished ones.
func Names() ([]string, error) {
	entries, err := os.ReadDir(Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Leftovers lists what there is on this machine of a lab that should be gone: its folder, its cgroup, processes of it, and
// mounts and links that it never should have made here. Empty is good.
func Leftovers(name string) ([]string, error) {
	l, err := locate(name)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var left []string
	if _, err := os.Stat(l.dir); err == nil {
		left = append(left, "folder "+l.dir)
	}
	if l.group.Exists() {
		left = append(left, l.group.String())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, l.dir+"/") || strings.Contains(line, "hexapod-lab-"+name) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	processes, err := l.processes()
	return append(left, processes...), err
}

// processes lists living processes that name the lab's folder in their mount table or belong to its cgroup.
func (l *Lab) processes() ([]string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var left []string
	for _, dir := range dirs {
		// A process that has ended has no mounts to read: it only waits for its parent to ask how it ended, and is no leftover.
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		mounts, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if len(mounts) == 0 {
			continue
		}
		if strings.Contains(string(groups), "/hexapod-lab-"+l.name+"/") || strings.Contains(string(mounts), "hexapod-lab/"+l.name+"/") {
			command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			left = append(left, fmt.Sprintf("process %s: %s", filepath.Base(dir), strings.ReplaceAll(string(command), "\x00", " ")))
		}
	}
	return left, nil
}
