package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// FolderSink copies segments into a folder, for example of a network file system. It makes the folder; the one above must be
// there, so that nothing is written below a mount point that is not mounted.
type FolderSink string

// Put implements Sink.
func (d FolderSink) Put(_ context.Context, name string, segment io.Reader) error {
	made := os.Mkdir(string(d), 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	if made == nil {
		if err := syncFolder(filepath.Dir(string(d))); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(string(d), name+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, segment)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(string(d), name))
	}
	if err != nil {
		if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	return syncFolder(string(d)) // the segment may be removed here as soon as this returns
}

// CommandSink runs a program for each segment, with the segment on its standard input and its name as last argument.
type CommandSink []string

// How long a command may take for one segment, and then for closing its output. A command that hangs must not keep the journal
// from being looked after.
const (
	commandLimit = 10 * time.Minute
	commandGrace = 5 * time.Second
)

// Put implements Sink.
func (c CommandSink) Put(ctx context.Context, name string, segment io.Reader) error {
	if len(c) == 0 {
		return errors.New("the sink's command is empty")
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c[0], append(c[1:len(c):len(c)], name)...)
	cmd.Stdin, cmd.WaitDelay = segment, commandGrace
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", c[0], errors.Join(err, context.Cause(ctx)), out)
	}
	return nil
}
