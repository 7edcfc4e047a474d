package translator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/linux/nat64"
)

// grantsEvery is how often the segments of the log of grants are looked at.
const grantsEvery = time.Minute

func (t *Translator) grantsFolder() nat64.GrantFolder { return nat64.GrantFolder(t.folder()) }

// openGrants opens the segment that a translator writes.
func (t *Translator) openGrants() (*os.File, error) { return t.grantsFolder().Open(today()) }

func today() string { return time.Now().UTC().Format(time.DateOnly) }

// runGrants has the translator begin a segment of its log of grants every day, gives closed ones to the sink of the journal, and removes
// those past its retention, until ctx ends.
func (t *Translator) runGrants(ctx context.Context) error {
	every := time.NewTicker(grantsEvery)
	defer every.Stop()
	for {
		err := t.keepGrants(ctx, today())
		if ctx.Err() != nil {
			return nil
		}
		t.mu.Lock()
		if err != nil && (t.log == nil || t.log.Error() != err.Error()) {
			t.options.Log.Error("the log of NAT64 grants is not looked after, trying again", "error", err)
		}
		t.log = err
		t.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// keepGrants looks after the log of grants on a day. By a clock that is not believed nothing begins and nothing is removed.
func (t *Translator) keepGrants(ctx context.Context, day string) error {
	if !t.options.Believed() {
		return nil
	}
	folder := t.grantsFolder()
	list, err := folder.Segments()
	if err != nil || len(list) == 0 {
		return err
	}
	if list[len(list)-1].Day != day && t.keeper.State().PID != 0 {
		if err := t.beginGrants(ctx, day); err != nil {
			return err
		}
	}
	keep, through := t.options.Keep(), uint64(math.MaxUint64)
	if keep.Sink != nil {
		if through, err = t.shipGrants(ctx, keep.Sink); err != nil {
			return err
		}
	}
	if keep.Retention == 0 {
		return nil
	}
	now, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return err
	}
	gone, err := folder.Retain(now.Add(-retained(keep)).Format(time.DateOnly), through)
	for _, s := range gone {
		t.options.Log.Info("a segment of the log of NAT64 grants is past its retention and removed", "segment", s.Name())
	}
	return err
}

func retained(k allocation.Keep) time.Duration { return time.Duration(k.Retention) * time.Second }

// beginGrants has the translator go on in the segment of a day. An agent that ends in between leaves a file that counts when the
// translator took it, and is used again when not.
func (t *Translator) beginGrants(ctx context.Context, day string) error {
	s, f, err := t.grantsFolder().Next(day)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.keeper.Call(ctx, nat64.CallSegment, s.Number, nil, f)
}

// shipGrants gives every closed segment that was not shipped yet to a sink, oldest first, and returns the number of the last that is there.
func (t *Translator) shipGrants(ctx context.Context, sink journal.Sink) (through uint64, err error) {
	noted := filepath.Join(t.folder(), "shipped")
	next := uint64(0)
	if b, err := os.ReadFile(noted); err == nil {
		// What cannot be read counts as nothing: to ship again does no harm.
		next, _ = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63)
	}
	list, err := t.grantsFolder().Segments()
	if err != nil {
		return 0, err
	}
	for _, s := range list[:max(len(list)-1, 0)] {
		if s.Number < next {
			continue
		}
		f, err := os.Open(t.grantsFolder().Path(s))
		if err == nil {
			err = errors.Join(sink.Put(ctx, s.Name(), f), f.Close())
		}
		if err != nil {
			return 0, fmt.Errorf("ship segment %s of the log of NAT64 grants: %w", s.Name(), err)
		}
		next = s.Number + 1
		if err := noteGrantsShipped(noted, next); err != nil {
			return 0, err
		}
	}
	if next == 0 {
		return 0, nil
	}
	return next - 1, nil
}

// noteGrantsShipped writes which segment is the first that was not shipped.
func noteGrantsShipped(path string, next uint64) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(strconv.FormatUint(next, 10)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// grantsWell tells why grants are not written down, or their log is not looked after; nil: all is well.
func (t *Translator) grantsWell() error {
	t.mu.Lock()
	err := t.log
	t.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := t.Status(ctx, 0)
	if err == nil && s.Problem != "" {
		return fmt.Errorf("%s (%d wait, %d are lost)", s.Problem, s.Unwritten, s.LostLines)
	}
	return nil // that it does not answer is told elsewhere
}
