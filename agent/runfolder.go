package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"hexapod.dev/linux/flock"
)

// lockName is the file in the run folder by which one agent at a time runs there.
const lockName = "agent.lock"

// A killed predecessor holds its lock until the kernel has taken it down. The kernel tells nobody when, so it is asked again.
const (
	lockPatience = 5 * time.Second
	lockAskAgain = 20 * time.Millisecond
)

// takeRunFolder makes the run folder this process's own.
func takeRunFolder(ctx context.Context, dir string) (*flock.Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		lock, err := flock.Take(dir, lockName)
		held, ok := errors.AsType[*flock.HeldError](err)
		if !ok {
			return lock, err
		}
		if !rest(patience, lockAskAgain) {
			return nil, fmt.Errorf("another agent runs with this run folder: %w; stop it, or give this one its own --run and --state", held)
		}
	}
}
