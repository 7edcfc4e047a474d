package build

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
)

// ballast is the size of a file that nobody reads, in bytes: an image is to be fetched in more than a few packets.
const ballast = 8 << 20

// Musl writes the image of a client whose C library is musl (Debian package musl-tools).
func (c Cache) Musl(ctx context.Context, file string) error {
	program := file + ".fetch"
	out, err := exec.CommandContext(ctx, "musl-gcc", "-static", "-O2", "-s", "-Wall", "-o", program, filepath.Join(c.module("musl"), "fetch.c")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the client with musl: %w\n%s", err, out)
	}
	bytes := func(w *tar.Writer) error { // the same each time, and nothing that a layer on the way could make smaller
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "ballast", Size: ballast, Mode: 0o644})
		if err == nil {
			_, err = io.CopyN(w, rand.NewChaCha8([32]byte{}), ballast)
		}
		return err
	}
	return writeArchive(file, []string{"localhost/musl:dev"}, config{Entrypoint: []string{"/fetch"}, Cmd: []string{"wait"}, Env: []string{searchPath}},
		[]layer{{bytes}, {executable("fetch", program)}})
}
