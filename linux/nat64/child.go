package nat64

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
	"hexapod.dev/linux/child"
)

// Child is the name of the child and of its user.
const (
	Child = "nat64"
	User  = 0x68640040 // a number of its own, far above those that systems give out
)

// Names of the files of the child, and of its calls.
const (
	FileTUN    = "tun"
	FileTable  = "table"
	FileGrants = "grants"
	FileFast   = "fast"  // none: there is no fast path
	FileRooms  = "rooms" // none: the fast path begins no flow
	FileBound  = "bound" // none: no ports of the host's own address are used

	CallConfigure = "configure" // Config
	CallSign      = "sign"      // -> Sign, from a translator that does its work
	CallStatus    = "status"    // how many endpoints and blocks -> Status
	CallEntries   = "entries"   // how many -> []nat64.Entry
	CallSegment   = "segment"   // number of a segment of the log of grants, and its file
)

// RunChild is the child: it translates until it is asked to leave.
func RunChild(ctx context.Context, self *child.Self, log *slog.Logger) error {
	tun, grants := self.File(FileTUN), self.File(FileGrants)
	if tun == nil || grants == nil {
		return errors.New("the files of the translator are missing; only the agent starts it")
	}
	tun, err := pollable(tun)
	if err != nil {
		return err
	}
	t := New(Files{TUN: tun, Table: self.File(FileTable), Grants: grants, Left: self.State(), Fast: self.File(FileFast), Rooms: self.File(FileRooms), Bound: self.File(FileBound)}, log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		err := t.Run(ctx)
		ended <- err
		if err != nil {
			log.Error("translation ends", "error", err)
			cancel()
		}
	}()
	err = self.Serve(ctx, child.Service{
		Call: func(_ context.Context, r child.Request) (any, error) {
			if r.Method == CallSegment {
				return nil, t.segment(self, r)
			}
			return t.call(r.Method, r.Body)
		},
		Leave: func() ([]byte, error) {
			cancel()
			err := <-ended
			return t.handOver(), err
		},
	})
	return err
}

// pollable makes reads of a file wait in the runtime and not in the kernel, so that they can be ended.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// segment begins a segment of the log of grants in a file that the agent opened, and lets the one before go.
func (t *Translator) segment(self *child.Self, r child.Request) error {
	var number uint64
	if err := json.Unmarshal(r.Body, &number); err != nil {
		return err
	}
	if len(r.Files) != 1 {
		return fmt.Errorf("log of NAT64 grants: %d files came for a segment", len(r.Files))
	}
	taken, err := t.Segment(number, r.Files[0])
	if taken {
		self.Keep(FileGrants, r.Files[0])
	}
	return err
}

func (t *Translator) call(method string, body json.RawMessage) (any, error) {
	switch method {
	case CallConfigure:
		var c Config
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, err
		}
		return nil, t.Configure(c)
	case CallSign:
		return t.Sign()
	case CallStatus, CallEntries:
		var n int
		if err := json.Unmarshal(body, &n); err != nil {
			return nil, err
		}
		if method == CallEntries {
			return t.Entries(n), nil
		}
		return t.Status(n), nil
	}
	return nil, fmt.Errorf("the translator knows no call %q", method)
}
