// Command mapdoc writes docs/map.md from the package comments of the tree.
package main

import (
	"context"
	"fmt"
	"os"

	"hexapod.dev/arch"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mapdoc FILE")
		os.Exit(2)
	}
	if err := write(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mapdoc:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context, path string) error {
	all, err := arch.Load(ctx, "..", "./...")
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(arch.Map(all)), 0o644)
}
