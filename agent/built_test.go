package agent

import (
	"runtime/debug"
	"testing"

	"hexapod.dev/model/ipam"
)

func TestBuiltAt(t *testing.T) {
	for _, c := range []struct {
		settings []debug.BuildSetting
		want     ipam.Seconds
	}{
		{nil, 0},
		{[]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.time", Value: "2025-01-02T00:00:01Z"}}, ipam.Day + 1},
		{[]debug.BuildSetting{{Key: "vcs.time", Value: "2024-12-31T00:00:00Z"}}, 0},
		{[]debug.BuildSetting{{Key: "vcs.time", Value: "yesterday"}}, 0},
	} {
		if got := builtAt(c.settings); got != c.want {
			t.Errorf("%v: got %s, want %s", c.settings, got, c.want)
		}
	}
}
