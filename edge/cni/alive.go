package cni

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"hexapod.dev/edge/cni/wire"
)

// keepAlive leaves a sign of life every beatInterval, and carries out tombstones that a plugin wrote since: one may decide
// that no agent runs in the moment it starts.
func (s *Server) keepAlive(ctx context.Context) {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.beat(ctx)
		if list, _ := s.tombstones().List(); len(list) > 0 {
			s.replay(ctx)
		}
	}
}

// beat writes the sign of life. It says that ADD can be served, so it goes when that is no longer so: a STATUS that failed before the
// agent went away must not become good by its absence.
func (s *Server) beat(ctx context.Context) {
	path := filepath.Join(s.RunDir, wire.AliveName)
	ctx, cancel := context.WithTimeout(ctx, beatInterval)
	defer cancel()
	err := s.Backend.Status(ctx)
	if ctx.Err() != nil {
		return // stopping, or hanging: the last sign of life keeps its age
	}
	if err == nil {
		err = writeBeat(path)
	} else if err = os.Remove(path); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		s.Log.Warn("CNI sign of life not written; STATUS fails as soon as the agent restarts", "error", err)
	}
}

// writeBeat replaces the file as a whole: a plugin may read it at any time.
func writeBeat(path string) error {
	draft := path + ".draft"
	if err := os.WriteFile(draft, wire.Now().Append(nil), 0o644); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

// Forget removes the sign of life: STATUS fails from now on when no agent runs. For `hexapod agent --cleanup`, which takes endpoints'
// links and routes away.
func (s *Server) Forget() error {
	if err := os.Remove(filepath.Join(s.RunDir, wire.AliveName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
