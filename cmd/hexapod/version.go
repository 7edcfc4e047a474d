package main

import (
	"context"
	"fmt"
	"runtime"
)

// version is set by the build (-ldflags "-X main.version=..."); a plain `go build` says what it is.
var version = "v0.0.0-dev"

func runVersion(_ context.Context, env environment, args []string) error {
	if len(args) > 0 {
		return usagef("takes no arguments, got %q", args[0])
	}
	fmt.Fprintf(env.stdout, "hexapod %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return nil
}
