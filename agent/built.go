package agent

import (
	"runtime/debug"
	"time"

	"hexapod.dev/model/ipam"
)

// built is when this program was made, as far as the build says: the time of its commit (`go help buildvcs`); 0: not known.
func built() ipam.Seconds {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return 0
	}
	return builtAt(info.Settings)
}

func builtAt(settings []debug.BuildSetting) ipam.Seconds {
	for _, s := range settings {
		if s.Key != "vcs.time" {
			continue
		}
		if at, err := time.Parse(time.RFC3339, s.Value); err == nil {
			return max(0, ipam.FromUnix(at.Unix()))
		}
	}
	return 0
}
