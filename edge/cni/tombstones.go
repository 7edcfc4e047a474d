package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/model/desired"
)

// Tombstones is the folder of deletes that came while no agent ran. The plugin writes there, the server carries them out.
type Tombstones string

// Tombstone is one such delete.
type Tombstone struct {
	Key   desired.EndpointKey
	NetNS string // may be gone
}

// List reads the folder; a missing one is empty. Files that are no tombstones are named in the error, beside those that are.
func (t Tombstones) List() ([]Tombstone, error) {
	entries, err := os.ReadDir(string(t))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	var list []Tombstone
	var bad []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") { // a plugin is writing it
			continue
		}
		tombstone, err := t.read(entry.Name())
		if err != nil {
			bad = append(bad, err)
			continue
		}
		list = append(list, tombstone)
	}
	return list, errors.Join(bad...)
}

func (t Tombstones) read(name string) (Tombstone, error) {
	path := filepath.Join(string(t), name)
	text, err := os.ReadFile(path)
	if err != nil {
		return Tombstone{}, fmt.Errorf("read tombstone: %w", err)
	}
	var content struct {
		Container string `json:"container"`
		Interface string `json:"interface"`
		NetNS     string `json:"netns"`
	}
	if err := json.Unmarshal(text, &content); err != nil {
		return Tombstone{}, fmt.Errorf("read tombstone %s: %w", path, err)
	}
	key := desired.EndpointKey{Container: content.Container, Interface: content.Interface}
	if err := checkKey(key); err != nil {
		return Tombstone{}, fmt.Errorf("read tombstone %s: %w", path, err)
	}
	if fileName(key) != name {
		return Tombstone{}, fmt.Errorf("read tombstone %s: it is that of %s", path, key)
	}
	return Tombstone{key, content.NetNS}, nil
}

// Remove forgets a tombstone, after it has been carried out. A missing one is no error.
func (t Tombstones) Remove(key desired.EndpointKey) error {
	if err := os.Remove(filepath.Join(string(t), fileName(key))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove tombstone: %w", err)
	}
	return nil
}

// pending tells whether a delete of this endpoint waits.
func (t Tombstones) pending(key desired.EndpointKey) bool {
	_, err := os.Lstat(filepath.Join(string(t), fileName(key)))
	return err == nil
}

func fileName(key desired.EndpointKey) string {
	return wire.Tombstone{Container: key.Container, Interface: key.Interface}.FileName()
}

func (s *Server) tombstones() Tombstones {
	return Tombstones(filepath.Join(s.StateDir, wire.TombstoneDir))
}

// replay carries the tombstones out. One that fails stays for the next time. Nothing else is served meanwhile: an ADD of the same
// endpoint must come before its tombstone is read or after it is gone.
func (s *Server) replay(ctx context.Context) {
	s.exclusive.Lock()
	defer s.exclusive.Unlock()
	list, err := s.tombstones().List()
	if err != nil {
		s.Log.Warn("CNI tombstones cannot all be read", "error", err)
	}
	for _, t := range list {
		if ctx.Err() != nil {
			return
		}
		if err := s.bury(ctx, Request{Key: t.Key, NetNS: t.NetNS}); err != nil {
			s.Log.Warn("CNI tombstone not carried out, it stays", "endpoint", t.Key, "error", err)
			continue
		}
		s.Log.Info("CNI tombstone carried out", "endpoint", t.Key)
	}
}

func (s *Server) bury(ctx context.Context, r Request) error {
	if err := s.Backend.Del(ctx, r); err != nil {
		return err
	}
	return s.tombstones().Remove(r.Key)
}

// clear carries out a delete that waits for this very endpoint, before it is added again.
func (s *Server) clear(ctx context.Context, key desired.EndpointKey) error {
	if !s.tombstones().pending(key) {
		return nil
	}
	if err := s.bury(ctx, Request{Key: key}); err != nil {
		return Errorf(CodeTryAgain, "an earlier delete of %s has to come first: %w", key, err)
	}
	return nil
}
