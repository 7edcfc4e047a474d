package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestLabCalls(t *testing.T) {
	for _, c := range []struct {
		call string
		code int
		want string // in what it prints
	}{
		{"lab", exitOK, "Usage: hexapod lab up"},
		{"lab --help", exitOK, "leaves nothing behind"},
		{"lab up --help", exitOK, "-racks"},
		{"lab sideways", exitUsage, `no verb "sideways"`},
		{"lab up 3", exitUsage, "got 1 words"},
		{"lab up --racks many", exitUsage, "racks"},
		{"lab exec r1h1 --", exitUsage, "and a command"},
		{"lab run", exitUsage, "got 0 words"},
		{"lab probe ping", exitUsage, "want ping ADDR"},
		{"lab probe ping here", exitUsage, "is not an address"},
		{"lab probe dance ::1", exitUsage, `no probe "dance"`},
		{"lab down --name ../x", exitFailed, "lab name"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), environment{&out, &out}, strings.Fields(c.call))
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit %d, want %d and %q in:\n%s", c.call, code, c.code, c.want, out.String())
		}
	}
}
