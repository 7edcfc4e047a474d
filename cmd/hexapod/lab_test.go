package main

import (
	"strings"
	"testing"
)

func TestLabCalls(t *testing.T) {
	for _, c := range []struct {
		call string
		code int
		want string // in what it prints
	}{
		{"lab", exitOK, "Usage: hexapod lab COMMAND"},
		{"lab --help", exitOK, "leaves nothing behind"},
		{"lab up --help", exitOK, "--racks"},
		{"lab sideways", exitUsage, `no command "sideways"`},
		{"lab up 3", exitUsage, "takes no words"},
		{"lab up --racks many", exitUsage, "racks"},
		{"lab exec r1h1 --", exitUsage, "want a command"},
		{"lab exec r1h1", exitUsage, "want WHERE COMMAND"},
		{"lab exec --name none r1h1 ls --help", exitFailed, "lab none"},
		{"lab run", exitUsage, "want SCENARIO.txtar"},
		{"lab probe ping", exitUsage, "want ADDRESS"},
		{"lab probe ping here", exitUsage, "is not an address"},
		{"lab probe dance ::1", exitUsage, `no command "dance"`},
		{"lab down --name ../x", exitFailed, "lab name"},
	} {
		out, errs, code := hexapod(t, strings.Fields(c.call)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit %d, want %d and %q in:\n%s", c.call, code, c.code, c.want, out+errs)
		}
	}
}
