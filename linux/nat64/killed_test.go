package nat64

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/child"
	"hexapod.dev/linux/netns/netnstest"
)

// asChild makes the test program a child that writes to the log of grants as fast as it can.
const asChild = "HEXAPOD_NAT64_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	if err := writeGrants(); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// writeGrants numbers what it writes, and begins segments when it is asked to, as the translator does.
func writeGrants() error {
	self, err := child.Begin()
	if err != nil {
		return err
	}
	t := New(Files{Grants: self.File(FileGrants), Left: self.State()}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err := t.Configure(config()); err != nil {
		return err
	}
	name := fmt.Sprintf("%d of %d", os.Getpid(), time.Now().UnixNano())
	go func() {
		for n := 1; ; n++ {
			t.mu.Lock()
			t.note(Record{Event: EventThreshold, Gateway: name, Limit: n})
			t.mu.Unlock()
		}
	}()
	return self.Serve(context.Background(), child.Service{Call: func(_ context.Context, r child.Request) (any, error) {
		return nil, t.segment(self, r)
	}})
}

// A translator that is killed while it writes, and while a segment begins, leaves every line once, up to its end.
func TestGrantsOfKilledTranslator(t *testing.T) {
	netnstest.Root(t)
	folder := GrantFolder(t.TempDir())
	for round := range 10 {
		killWriting(t, folder, t.TempDir(), round%3)
	}
	list, err := folder.Segments()
	if err != nil {
		t.Fatal(err)
	}
	wrote := map[string]int{}
	for _, s := range list {
		f, err := os.Open(folder.Path(s))
		if err != nil {
			t.Fatal(err)
		}
		_, err = eachRecord(f, func(r Record) bool {
			if r.Event != EventThreshold {
				return true
			}
			if wrote[r.Gateway]++; wrote[r.Gateway] != r.Limit {
				t.Errorf("segment %s: line %d of process %q, want %d", s.Name(), r.Limit, r.Gateway, wrote[r.Gateway])
				return false
			}
			return true
		})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(wrote) < 10 || len(list) < 10 {
		t.Errorf("%d processes wrote %d segments", len(wrote), len(list))
	}
}

// killWriting starts a child, has it begin so many segments, and kills it beside the call for one more.
func killWriting(t *testing.T, folder GrantFolder, run string, segments int) {
	t.Helper()
	news := make(chan struct{}, 10)
	gone := make(chan struct{}) // closed when the child has closed all its files
	opened := 0
	k := &child.Keeper{
		Spec: child.Spec{Name: Child, RunDir: run, User: User, Program: "/proc/self/exe", Args: []string{"-test.run=^$"}, Env: []string{asChild + "=1"}},
		Log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		Open: func([]child.Named) ([]child.Named, error) {
			if opened++; opened == 2 {
				close(gone)
			}
			if opened > 1 {
				return nil, errors.New("one is enough")
			}
			f, err := folder.Open("2026-01-31")
			return []child.Named{{Name: FileGrants, File: f}}, err
		},
		Begun: func(context.Context) error { news <- struct{}{}; return nil },
	}
	t.Cleanup(func() { _ = k.End() }) // one that a failed test left
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	select {
	case <-news:
	case <-time.After(time.Minute):
		t.Fatalf("no child: %+v", k.State())
	}
	next := func() error {
		s, f, err := folder.Next("2026-01-31")
		if err != nil {
			return err
		}
		defer f.Close()
		return k.Call(ctx, CallSegment, s.Number, nil, f)
	}
	for range segments + 1 {
		if err := next(); err != nil {
			t.Fatal(err)
		}
	}
	pid := k.State().PID
	asked := make(chan struct{})
	go func() { _ = next(); close(asked) }() // it is answered or not
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-asked
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
