package flock

import (
	"errors"
	"os"
	"testing"
)

func TestOneHolder(t *testing.T) {
	dir := t.TempDir()
	first, err := Take(dir, "agent.lock")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(dir, "agent.lock")
	var held *HeldError
	if !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("second Take: %v, want held by process %d", err, os.Getpid())
	}
	if other, err := Take(dir, "other.lock"); err != nil {
		t.Errorf("another name in the same folder: %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Take(dir, "agent.lock")
	if err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestMissingFolder(t *testing.T) {
	if _, err := Take(t.TempDir()+"/none", "agent.lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Take in a missing folder: %v, want %v", err, os.ErrNotExist)
	}
}
