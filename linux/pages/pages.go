// Package pages gives memory of this process back to the kernel.
package pages

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives back what only the start of a program needed: freed pages of the heap, and the mapped pages of the program's own file. Those
// are mostly tables and code that run once (descriptors that packages register). They stay in the page cache: a page that
// is needed again is mapped again, and the file is not read (madvise(2), MADV_DONTNEED on a file mapping).
func Trim() error {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var all []error
	for _, p := range unwritten(string(maps), program) {
		if _, _, code := unix.Syscall(unix.SYS_MADVISE, p.start, p.length, unix.MADV_DONTNEED); code != 0 {
			all = append(all, fmt.Errorf("madvise %d bytes at %#x: %w", p.length, p.start, code))
		}
	}
	return errors.Join(all...)
}

// part is a part of a process's memory.
type part struct{ start, length uintptr }

// unwritten finds the parts of the program in /proc/PID/smaps (proc(5)) that nobody has written to. A dynamic linker writes to some before it makes
// them read-only (RELRO, in programs with cgo): they have pages that are no longer those of the file.
func unwritten(maps, program string) (list []part) {
	var p part
	pending := false
	for line := range strings.Lines(maps) {
		if start, length, ours := readOnly(line, program); ours {
			p, pending = part{start, length}, true
		}
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Anonymous:" {
			if pending && fields[1] == "0" {
				list = append(list, p)
			}
			pending = false
		}
	}
	return list
}

// readOnly reads the first line of a mapping in /proc/PID/smaps (proc(5)) and tells the place of a part of the program that nobody can have written to. What is
// written to a private mapping of a file would be lost.
func readOnly(line, program string) (start, length uintptr, ours bool) {
	var end uintptr
	var mode string
	if n, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &mode); n != 3 || err != nil {
		return 0, 0, false
	}
	ours = strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+program) && !strings.Contains(mode, "w")
	return start, end - start, ours
}
