package dhcp_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hexapod.dev/edge/dhcp"
)

// wire is a port whose other end the test holds.
type wire struct{ sent, heard chan []byte }

func (w wire) Send(b []byte) error { w.sent <- b; return nil }

func (w wire) Receive(ctx context.Context) ([]byte, error) {
	select {
	case b := <-w.heard:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestClientKeepsWhatItHasBeforeItTells(t *testing.T) {
	file := dhcp.File(filepath.Join(t.TempDir(), "lease.json"))
	told := make(chan dhcp.Holding, 10)
	w := wire{make(chan []byte, 10), make(chan []byte, 10)}
	o := dhcp.Options{
		Link: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Begin: true, Port: w, Clock: dhcp.SystemClock{}, Store: file,
		Log: slog.New(slog.DiscardHandler), Chance: func() float64 { return 0 },
		Tell: func(h dhcp.Holding) {
			kept, err := file.Load()
			if err != nil || len(kept.Lease.Prefixes) == 0 || kept.Lease.Prefixes[0].Prefix != h.Prefix {
				t.Errorf("told of %s while %+v was kept, %v", h.Prefix, kept, err)
			}
			told <- h
		},
	}
	c, err := dhcp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for _, kind := range []dhcp.Kind{dhcp.Advertise, dhcp.Reply} {
		var asked dhcp.Message
		for asked.IA == nil || kind == dhcp.Reply && asked.Kind != dhcp.Request {
			b := <-w.sent
			if asked, err = dhcp.Parse(b, iaidOf(b)); err != nil {
				t.Fatal(err)
			}
		}
		b, err := dhcp.Message{Kind: kind, Transaction: asked.Transaction, Client: asked.Client, Server: server, Preference: 255,
			IA: &dhcp.IA{ID: asked.IA.ID, Prefixes: []dhcp.Offer{offer(first, 1000, 2000)}}}.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		w.heard <- []byte("not a message")
		w.heard <- b
	}
	if h := <-told; h.Prefix != first {
		t.Errorf("told %+v", h)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := c.Status(); s.State != dhcp.Bound || s.Heard[dhcp.Reply] != 1 || s.Sent[dhcp.Request] < 1 {
		t.Errorf("status: %+v", s)
	}

	// A new life holds the same, at once, also with another network card.
	o.MAC = [6]byte{2, 0, 0, 0, 0, 9}
	again, err := dhcp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if h := <-told; h.Prefix != first || again.Status().State != dhcp.Verifying {
		t.Errorf("after a restart: %+v, %+v", h, again.Status())
	}
	// Over another link it only drains.
	o.Link, o.Tell = "eth1", nil
	moved, err := dhcp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if h := moved.Status().Holding; h.Prefix.IsValid() || len(h.Draining) != 1 {
		t.Errorf("over another link: %+v", h)
	}
}

// iaidOf finds the number of the first IA_PD, which a test does not know.
func iaidOf(b []byte) uint32 {
	for b = b[4:]; len(b) >= 8; {
		n := int(b[2])<<8 | int(b[3])
		if b[0] == 0 && b[1] == 25 { // OPTION_IA_PD
			return uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
		}
		b = b[4+n:]
	}
	return 0
}

func TestFile(t *testing.T) {
	file := dhcp.File(filepath.Join(t.TempDir(), "lease.json"))
	if k, err := file.Load(); err != nil || k.DUID != nil {
		t.Errorf("no file: %+v, %v", k, err)
	}
	want := dhcp.Kept{DUID: host, Link: "eth0", Lease: dhcp.Lease{Server: server, T1: begin, T2: begin.Add(time.Hour),
		Prefixes: []dhcp.Delegation{{Prefix: first, Preferred: begin, Valid: begin.Add(time.Hour), Withdrawn: true}}}}
	if err := file.Save(want); err != nil {
		t.Fatal(err)
	}
	have, err := file.Load()
	if d := cmp.Diff(want, have, cmpopts.EquateComparable(first), cmpopts.EquateApproxTime(0)); err != nil || d != "" {
		t.Errorf("%v (-saved +loaded):\n%s", err, d)
	}
	if err := os.WriteFile(string(file), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Load(); err == nil {
		t.Error("half a file was taken for a lease")
	}
	if err := dhcp.File(filepath.Join(t.TempDir(), "missing", "lease.json")).Save(want); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
