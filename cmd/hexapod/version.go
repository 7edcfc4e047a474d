package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

// version is set by the build (-ldflags "-X main.version=..."); a plain `go build` says what it is.
var version = "v0.0.0-dev"

// built is set by the build as well (-X main.built=...): the time of the commit in Unix seconds, never the clock of the build, so that
// the same commit gives the same program.
var built string

// builtAt returns the time of the commit this program was made from, no clock is right before it; zero when nobody noted it.
func builtAt(built string, info func() (*debug.BuildInfo, bool)) time.Time {
	if unix, err := strconv.ParseInt(built, 10, 64); err == nil {
		return time.Unix(unix, 0).UTC()
	}
	notes, ok := info()
	if !ok {
		return time.Time{}
	}
	for _, s := range notes.Settings {
		if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return at.UTC()
		}
	}
	return time.Time{}
}

func runVersion(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Prints the version of this build.")
	output := f.output()
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	at := builtAt(built, debug.ReadBuildInfo)
	if *output == formatJSON {
		return printJSON(env.stdout, struct {
			Version string    `json:"version"`
			Commit  time.Time `json:"commit,omitzero"` // its time
			OS      string    `json:"os"`
			Arch    string    `json:"arch"`
			Go      string    `json:"go"`
		}{version, at, runtime.GOOS, runtime.GOARCH, runtime.Version()})
	}
	of := ""
	if !at.IsZero() {
		of = " of " + at.Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(env.stdout, "hexapod %s%s %s/%s %s\n", version, of, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}
