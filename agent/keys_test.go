package agent

import (
	"context"
	"errors"
	"sync"
	"testing"

	"hexapod.dev/model/desired"
)

func TestKeyLocksOneAtATime(t *testing.T) {
	var l keyLocks
	var wg sync.WaitGroup
	keys := []desired.EndpointKey{{Container: "a", Interface: "eth0"}, {Container: "a", Interface: "eth1"}}
	count := [2]int{}
	for i := range 200 {
		wg.Go(func() {
			unlock, err := l.Lock(t.Context(), keys[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			count[i%2]++
		})
	}
	wg.Wait()
	if count != [2]int{100, 100} {
		t.Errorf("inside %v times, want 100 each", count)
	}
	if len(l.held) != 0 {
		t.Errorf("%d locks kept after all were given back, want 0", len(l.held))
	}
}

func TestKeyLocksGiveUp(t *testing.T) {
	var l keyLocks
	k := desired.EndpointKey{Container: "a", Interface: "eth0"}
	unlock, err := l.Lock(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Lock(ctx, k); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context: %v, want %v", err, context.Canceled)
	}
	unlock()
	if len(l.held) != 0 {
		t.Errorf("%d locks kept, want 0", len(l.held))
	}
}
