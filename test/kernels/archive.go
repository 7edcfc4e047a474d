package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes files as the kernel wants its first file system: the "newc" form of cpio, compressed
// (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
type archive struct {
	file  *os.File
	zip   *gzip.Writer
	inode int
	made  map[string]bool
}

func newArchive(at string) (*archive, error) {
	f, err := os.Create(at)
	if err != nil {
		return nil, err
	}
	zip, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	return &archive{file: f, zip: zip, made: map[string]bool{}}, nil
}

// Modes of what is in an archive (inode(7)).
const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeLink = 0o120777
)

func (a *archive) entry(name string, mode int, body []byte) error {
	name = strings.TrimPrefix(name, "/")
	if a.made[name] {
		return nil
	}
	a.made[name] = true
	if dir := path.Dir(name); dir != "." && name != "TRAILER!!!" {
		if err := a.entry(dir, modeDir, nil); err != nil {
			return err
		}
	}
	a.inode++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0)
	for _, part := range []string{head + name + "\x00", string(body)} {
		// header and name together, and the body, each end at a multiple of four
		if _, err := io.WriteString(a.zip, part+strings.Repeat("\x00", -len(part)&3)); err != nil {
			return err
		}
	}
	return nil
}

// add copies a file of this machine to a place in the archive.
func (a *archive) add(name, from string) error {
	body, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return a.entry(name, modeFile, body)
}

func (a *archive) link(name, to string) error { return a.entry(name, modeLink, []byte(to)) }

func (a *archive) dir(name string) error { return a.entry(name, modeDir, nil) }

func (a *archive) close() error {
	if err := a.entry("TRAILER!!!", 0, nil); err != nil {
		return err
	}
	if err := a.zip.Close(); err != nil {
		return err
	}
	return a.file.Close()
}
