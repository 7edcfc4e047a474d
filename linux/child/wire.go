package child

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	maxFrame = 256 << 20 // bytes of one message: the state of a million bindings fits
	maxFiles = 250       // of one message; the kernel takes 253 (SCM_MAX_FD)
)

// question is what is asked of a child, answer what it says. Both travel as JSON behind its length in four bytes, open files beside it.
type question struct {
	Method string          `json:"method"`
	Body   json.RawMessage `json:"body,omitempty"`
}

type answer struct {
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	Files []string        `json:"files,omitempty"` // names of the files beside it
	State int             `json:"state,omitempty"` // bytes behind it: what the next child needs to go on
}

// send writes one message and the files that belong to it.
func send(c *net.UnixConn, v any, files []*os.File, behind []byte) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(body)))
	n, _, err := c.WriteMsgUnix(head[:], rights, nil)
	if err == nil {
		_, err = c.Write(append(head[n:], body...))
	}
	if err == nil && len(behind) > 0 {
		_, err = c.Write(behind)
	}
	return err
}

// receive reads one message. The caller closes the files.
func receive(c *net.UnixConn, v any) (files []*os.File, err error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := c.ReadMsgUnix(head[:], oob)
	if err != nil {
		return nil, err
	}
	if files, err = filesOf(oob[:oobn]); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	if flags&unix.MSG_CTRUNC != 0 {
		return files, errors.New("more files in one message than it can carry")
	}
	if n == 0 {
		return files, io.EOF
	}
	if _, err := io.ReadFull(c, head[n:]); err != nil {
		return files, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return files, fmt.Errorf("a message of %d bytes, want at most %d", size, maxFrame)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return files, err
	}
	return files, json.Unmarshal(body, v)
}

func filesOf(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // it carries something else
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
