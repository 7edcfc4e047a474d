package main

import (
	"context"
	"fmt"
	"runtime"
)

// version is set by the build (-ldflags "-X main.version=..."); a plain `go build` says what it is.
var version = "v0.0.0-dev"

func runVersion(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Prints the version of this build.")
	output := f.output()
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	if *output == formatJSON {
		return printJSON(env.stdout, struct {
			Version string `json:"version"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
			Go      string `json:"go"`
		}{version, runtime.GOOS, runtime.GOARCH, runtime.Version()})
	}
	_, err := fmt.Fprintf(env.stdout, "hexapod %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}
