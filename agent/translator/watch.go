package translator

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/nat64"
)

// Times of the watch over the child. Looks are counted and not time, so an agent that gets no processor blames nobody for it.
const (
	lookEvery   = 200 * time.Millisecond
	silentLooks = 5  // without a sign of life, and others are led to if there are any: they take its addresses after 0.7 s
	hungLooks   = 50 // and it is ended
)

// life is what the agent knows of the child's. The lock of the translator guards it.
type life struct {
	signs  uint64 // that it does its work
	others int    // gateways that go on for this one, at the last sign
	silent bool   // it gives none
	away   bool   // others are led to meanwhile
	hangs  int    // children that were ended for it
}

// pulse counts the looks at a child that gave no sign of life.
type pulse struct{ missed int }

// look counts one. alive: it gave a sign since the last one. end is true when the child is to be ended: once, and again when that did not help.
func (p *pulse) look(alive bool) (silent, end bool) {
	if p.missed++; alive {
		p.missed = 0
	}
	if end = p.missed >= hungLooks; end {
		p.missed = silentLooks
	}
	return p.missed >= silentLooks, end
}

// ask asks the child that runs, whoever started it, for signs of life.
func (t *Translator) ask(ctx context.Context) error {
	for tick := time.NewTicker(lookEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
		var s nat64.Sign
		if !t.wanted() || t.keeper.Call(ctx, nat64.CallSign, nil, &s) != nil {
			continue // watch sees that none came
		}
		t.mu.Lock()
		t.life.signs++
		t.life.others = s.Others
		t.mu.Unlock()
	}
}

// watch looks whether the child does its work. One that does not is not led to while others go on for it; at last it is ended, and started anew with
// the bindings that it has in memory.
func (t *Translator) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var p pulse
	for last := uint64(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		t.mu.Lock()
		silent, end := p.look(t.life.signs != last || t.want == nil)
		last = t.life.signs
		t.hear(silent)
		t.mu.Unlock()
		if end {
			t.end()
		}
	}
}

// hear leads packets elsewhere when the child falls silent, where others go on for it, and here when it is heard again. The caller holds the lock.
func (t *Translator) hear(silent bool) {
	if t.life.silent == silent {
		return
	}
	t.life.silent = silent
	switch away := silent && t.life.others > 0; {
	case silent:
		t.options.Log.Error("the translator gives no sign of life", "pid", t.keeper.State().PID, "gateways that go on for it", t.life.others)
		if away { // without others nobody is better: flows that are known in the kernel go on here
			t.options.Tell(false)
		}
		t.life.away = away
	default:
		t.options.Log.Info("the translator gives signs of life again", "pid", t.keeper.State().PID)
		if t.life.away && t.want != nil {
			t.options.Tell(true)
		}
		t.life.away = false
	}
}

// end ends a child that hangs; its keeper starts the next one.
func (t *Translator) end() {
	pid := t.keeper.State().PID
	if pid <= 1 {
		return // the keeper has none, and says why
	}
	t.options.Log.Error("the translator hangs and is ended", "pid", pid)
	if unix.Kill(pid, unix.SIGKILL) != nil {
		return // it ended itself meanwhile
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.life.hangs++
}

func (t *Translator) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want != nil
}

// lifeNow is what the agent knows of the child's life.
func (t *Translator) lifeNow() life {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.life
}
