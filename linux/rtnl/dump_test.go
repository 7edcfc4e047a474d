package rtnl

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// pretend makes a Conn whose kernel is the test: answer is called with the sequence number of each dump that is asked for.
func pretend(t *testing.T, answer func(seq uint32) []byte) *Conn {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1024)
		for {
			n, err := unix.Read(ends[1], b)
			if err != nil || n == 0 {
				return
			}
			if out := answer(binary.NativeEndian.Uint32(b[8:])); out != nil {
				if _, err := unix.Write(ends[1], out); err != nil {
					return
				}
			}
		}
	}()
	c := &Conn{fd: ends[0]}
	t.Cleanup(func() {
		c.Close()
		<-done
		unix.Close(ends[1])
	})
	return c
}

// piece is one message of a dump.
func piece(typ, flags uint16, seq uint32, body []byte) []byte {
	r := &Request{typ: typ, flags: flags, body: body}
	return r.append(nil, seq)
}

// list answers a dump with two links and its end; flags are those of the second link.
func list(seq uint32, flags uint16) []byte {
	b := piece(unix.RTM_NEWLINK, unix.NLM_F_MULTI, seq, ifinfo(1, 0, 0))
	b = append(b, piece(unix.RTM_NEWLINK, unix.NLM_F_MULTI|flags, seq, ifinfo(2, 0, 0))...)
	return append(b, piece(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, []byte{0, 0, 0, 0})...)
}

func TestInterruptedDumpIsTakenAgain(t *testing.T) {
	for _, tc := range []struct {
		name        string
		interrupted int
		want        error
	}{
		{"never", 0, nil},
		{"twice", 2, nil},
		{"as often as it is tried, less one", dumpTries - 1, nil},
		{"as often as it is tried", dumpTries, ErrInterrupted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			left := tc.interrupted
			c := pretend(t, func(seq uint32) []byte {
				if left > 0 {
					left--
					return list(seq, unix.NLM_F_DUMP_INTR)
				}
				return list(seq, 0)
			})
			links, err := c.Links()
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if want := 2; tc.want == nil && len(links) != want || tc.want != nil && len(links) != 0 {
				t.Errorf("%d links: half a list was given out", len(links))
			}
		})
	}
}

func TestDumpThatEndsInAnErrorIsNone(t *testing.T) {
	c := pretend(t, func(seq uint32) []byte {
		b := piece(unix.RTM_NEWLINK, unix.NLM_F_MULTI, seq, ifinfo(1, 0, 0))
		errno := int32(unix.ENOMEM)
		return append(b, piece(unix.NLMSG_DONE, unix.NLM_F_MULTI, seq, binary.NativeEndian.AppendUint32(nil, uint32(-errno)))...)
	})
	if links, err := c.Links(); !errors.Is(err, unix.ENOMEM) || len(links) != 0 {
		t.Errorf("%d links, %v", len(links), err)
	}
}

func TestAnswersOfAnEarlierDumpAreNotMixedIn(t *testing.T) {
	c := pretend(t, func(seq uint32) []byte { return append(list(seq-1, 0), list(seq, 0)...) })
	if links, err := c.Links(); err != nil || len(links) != 2 {
		t.Errorf("%d links, %v", len(links), err)
	}
}

func TestLostAnswerIsAnError(t *testing.T) {
	c := pretend(t, func(uint32) []byte { return nil })
	r := DeleteGroup(1)
	if err := c.Do(r); err == nil || r.Err() == nil {
		t.Errorf("a request without an answer is taken for done: %v, %v", err, r.Err())
	}
}
