// Package addtime measures CNI ADD on a real cluster as its runtime sees it: ours beside the stock ptp, in turn.
//
// A program stands before each plugin and writes down how long it ran. Every round, one network's configuration is what the runtime of a
// worker finds; pods are made there as anybody makes them, and deleted.
package addtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Verb is the word by which the program is called that stands before a plugin: Verb, the plugin, the log.
const Verb = "timed"

// Timed runs a plugin as a runtime does, and adds a line with its name and microseconds to a log if it was an ADD: from before the
// process is made until it has ended and said all.
func Timed(ctx context.Context, plugin, log string) (exit int, err error) {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, plugin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, os.Stderr
	begin := time.Now()
	ended := cmd.Run()
	took := time.Since(begin)
	if _, err := os.Stdout.Write(out.Bytes()); err != nil {
		return 1, err
	}
	var failed *exec.ExitError
	if errors.As(ended, &failed) {
		return failed.ExitCode(), nil
	}
	if ended != nil {
		return 1, ended
	}
	if os.Getenv("CNI_COMMAND") != "ADD" {
		return 0, nil
	}
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 1, err
	}
	_, err = fmt.Fprintf(f, "%s %d\n", filepath.Base(plugin), took.Microseconds())
	return 0, errors.Join(err, f.Close())
}

// read returns what a log says of a plugin, in microseconds.
func read(log, plugin string) ([]int64, error) {
	text, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var all []int64
	for line := range strings.Lines(string(text)) {
		var name string
		var took int64
		if _, err := fmt.Sscan(line, &name, &took); err != nil {
			return nil, fmt.Errorf("line %q of %s: %w", line, log, err)
		}
		if name == plugin {
			all = append(all, took)
		}
	}
	return all, nil
}
