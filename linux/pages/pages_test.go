package pages

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestReadOnly(t *testing.T) {
	const program = "/usr/bin/a program (deleted)" // replaced by an upgrade while it runs
	for _, c := range []struct {
		name, line string
		ours       bool
	}{
		{"code", "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a program (deleted)\n", true},
		{"tables", "00400000-00452000 r--p 00000000 08:02 173521      /usr/bin/a program (deleted)\n", true},
		{"variables", "00400000-00452000 rw-p 00000000 08:02 173521      /usr/bin/a program (deleted)\n", false},
		{"another file", "00400000-00452000 r-xp 00000000 08:02 173521      /usr/lib/libc.so\n", false},
		{"heap", "00400000-00452000 rw-p 00000000 00:00 0\n", false},
		{"no line of maps", "what is this\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			start, length, ours := readOnly(c.line, program)
			if ours != c.ours || ours && (start != 0x400000 || length != 0x52000) {
				t.Errorf("got %#x, %#x, %v; want ours %v", start, length, ours, c.ours)
			}
		})
	}
}

func TestUnwritten(t *testing.T) {
	const maps = `00400000-00452000 r-xp 00000000 08:02 173521      /a
Size:                328 kB
Anonymous:             0 kB
00452000-00453000 r--p 00052000 08:02 173521      /a
Anonymous:             4 kB
00453000-00454000 rw-p 00053000 08:02 173521      /a
Anonymous:             0 kB
`
	if list := unwritten(maps, "/a"); len(list) != 1 || list[0] != (part{0x400000, 0x52000}) {
		t.Errorf("unwritten: %#x", list)
	}
}

// TestTrim: fewer pages of the program are mapped after it, and the program goes on.
func TestTrim(t *testing.T) {
	program, err := os.ReadFile("/proc/self/exe") // all of it is in the page cache now
	if err != nil {
		t.Fatal(err)
	}
	before := fileMapped(t)
	if err := Trim(); err != nil {
		t.Fatal(err)
	}
	if after := fileMapped(t); after >= before {
		t.Errorf("%d KiB of the program's %d are mapped after it, and were %d", after, len(program)>>10, before)
	}
}

// fileMapped is what this process has mapped of files, in KiB (proc(5), status).
func fileMapped(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
