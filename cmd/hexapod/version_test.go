package main

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestBuiltAt(t *testing.T) {
	noted := func(settings ...debug.BuildSetting) func() (*debug.BuildInfo, bool) {
		return func() (*debug.BuildInfo, bool) { return &debug.BuildInfo{Settings: settings}, true }
	}
	commit := debug.BuildSetting{Key: "vcs.time", Value: "2026-06-01T12:00:00Z"}
	for _, c := range []struct {
		name  string
		built string
		info  func() (*debug.BuildInfo, bool)
		want  time.Time
	}{
		{"given by the build", "1735689660", noted(commit), time.Date(2025, 1, 1, 0, 1, 0, 0, time.UTC)},
		{"noted by go build", "", noted(debug.BuildSetting{Key: "vcs", Value: "git"}, commit), time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)},
		{"a tarball", "", noted(), time.Time{}},
		{"no notes", "", func() (*debug.BuildInfo, bool) { return nil, false }, time.Time{}},
	} {
		if got := builtAt(c.built, c.info); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestVersionTellsItsCommit(t *testing.T) {
	defer func(was string) { built = was }(built)
	built = "1735689660"
	if out, _ := call(t, exitOK, "version"); !strings.Contains(out, " of 2025-01-01T00:01:00Z ") {
		t.Errorf("got %q", out)
	}
}
