package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hexapod.dev/agent/allocation"
	"hexapod.dev/agent/journal"
	"hexapod.dev/agent/local"
	"hexapod.dev/edge/cni"
	"hexapod.dev/model/ipam"
)

// refused wants an error with a code of CNI and with words.
func refused(t *testing.T, what string, err error, code cni.Code, words string) {
	t.Helper()
	var coded *cni.Error
	if !errors.As(err, &coded) || coded.Code != code || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: got %v, want code %d and %q", what, err, code, words)
	}
}

// TestFullDiskAndBack: on a full disk an ADD fails in words and STATUS says so, endpoints go on, and service resumes with the space,
// though a runtime sends nothing but STATUS until then.
func TestFullDiskAndBack(t *testing.T) { // alone: a program that another test is just starting has copies of open files, and keeps the disk busy
	h := newHost(t)
	if err := os.MkdirAll(h.state(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", h.state(), "tmpfs", 0, "size=128k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(h.state(), 0); err != nil { // the agent has ended: it was started later
			t.Error(err)
		}
	})
	a := h.start()
	living, err := a.Add(t.Context(), h.endpoint("living"))
	if err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(h.state(), "filler")
	fill(t, filler)
	next := h.endpoint("next")
	// The journal's last page may have room for some records, and for the smaller one of STATUS when that of an ADD is too large.
	r, refusal := next, error(nil)
	for n := 0; refusal == nil && n < 200; n++ {
		r.Key.Container, r.Key.Interface = "next", "e"+string(rune('a'+n%26))+string(rune('a'+n/26))
		if _, err = a.Add(t.Context(), r); err != nil {
			refusal = a.Status(t.Context())
		}
	}
	refused(t, "STATUS on a full disk", refusal, cni.CodeNotAvailable, "no room on its disk")
	refused(t, "ADD on a full disk", err, cni.CodeTryAgain, "no room on its disk")
	if o := h.object("journal", ""); o.State != local.Failed || !strings.Contains(o.Why, "no room on its disk") {
		t.Errorf("status shows %+v", o)
	}
	h.reaches(living.Addrs[0].String())
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := a.Status(t.Context()); err != nil {
		t.Errorf("STATUS with room again: %v", err)
	}
	if o := h.object("journal", ""); o.State != local.Done {
		t.Errorf("status shows %+v", o)
	}
	got, err := a.Add(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	h.reaches(got.Addrs[0].String())
}

// fill writes a file until the file system is full to the last byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// TestRefusedClockIsAccepted: a host whose journal is of another boot and much older than its clock gives nothing out, says what to
// do, and does after the operator's word.
func TestRefusedClockIsAccepted(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.configure(strings.Replace(plan, "clock: trusted, ", "", 1))
	writeOldJournal(t, filepath.Join(h.state(), "journal"))
	a := h.start()
	r := h.endpoint("web")
	_, err := a.Add(t.Context(), r)
	refused(t, "ADD", err, cni.CodeTryAgain, "hexapod ipam accept-clock")
	refused(t, "STATUS", a.Status(t.Context()), cni.CodeNotAvailable, "too far ahead")
	if o := h.object("clock", "h1"); o.State != local.Failed || !strings.Contains(o.Why, "hexapod ipam accept-clock") {
		t.Errorf("status shows %+v", o)
	}
	if err := h.client().AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Status(t.Context()); err != nil {
		t.Errorf("STATUS after accept-clock: %v", err)
	}
	if o := h.object("clock", "h1"); o.State != local.Done {
		t.Errorf("status shows %+v", o)
	}
	got, err := a.Add(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	h.reaches(got.Addrs[0].String())
}

// pastClock stands still, long ago.
type pastClock struct{ allocation.SystemClock }

func (pastClock) Now() ipam.Seconds {
	return ipam.FromUnix(time.Now().Unix()) - ipam.MaxClockJump - ipam.Day
}

// writeOldJournal leaves a journal as another boot of the host wrote it, one endpoint that came and went.
func writeOldJournal(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := journal.MakeDir(path)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := ipam.NewLayout(hostPrefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := allocation.Open(allocation.Options{
		Host: "h1", Layout: layout, FS: dir, Clock: pastClock{}, IDs: allocation.IDs{Boot: [16]byte{1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	owner := allocation.Owner{}
	owner.Key.Container, owner.Key.Interface = "old", "eth0"
	_, err = b.Allocate(t.Context(), allocation.Request{Owner: owner, Identity: 300})
	if err := errors.Join(err, b.Retire(t.Context(), owner.Key), b.Close()); err != nil {
		t.Fatal(err)
	}
}
