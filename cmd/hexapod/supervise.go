package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// Times of a supervised agent.
const (
	againFirst = 100 * time.Millisecond // until it is started again; doubles while it ends soon
	againLast  = 5 * time.Second
	longLife   = 3 * time.Second // an agent that lived so long has served: what ended it was not its start
)

// supervise runs this very program with the same words less --supervise until ctx ends, and starts it again when it ends before.
func supervise(ctx context.Context, env environment, log *slog.Logger, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	words := append([]string{"agent"}, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--supervise" || a == "-supervise" })...)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for again := againFirst; ; {
		begun := time.Now()
		err := once(ctx, env, hangups, self, words)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) > longLife {
			again = againFirst
		}
		log.Error("the agent ended, it is started again", "after", time.Since(begun).Round(time.Millisecond), "in", again, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
		again = min(2*again, againLast)
	}
}

// once runs the agent to its end. When ctx ends, it is told to end and waited for.
func once(ctx context.Context, env environment, hangups <-chan os.Signal, self string, words []string) error {
	cmd := exec.CommandContext(ctx, self, words...)
	cmd.Stdout, cmd.Stderr = env.stdout, env.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case <-hangups:
			_ = cmd.Process.Signal(syscall.SIGHUP) // one that has just ended reads everything again anyway
		}
	}
}
