// Package child runs parts of Hexapod that read bytes of strangers as processes without privileges, which outlive the agent that started them.
//
// A child is this same program under a user of its own, without capabilities, confined by seccomp. It has the sockets and devices it
// works with as open files from the agent and listens on a unix socket in the agent's run folder. When the agent ends, the child goes on;
// the next agent finds it by its socket. A child of another build is asked to leave: it stops, gives its files and state back, and a new
// one goes on with them.
//
// The agent's side is Keeper; the child's side is Begin and Self.Serve.
package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	listenFD      = 3 // the first file of a child: its listening socket
	filesVariable = "HEXAPOD_CHILD_FILES"
	stateName     = "state" // the file with what the child before left

	methodWatch = "hexapod.watch"
	methodLeave = "hexapod.leave"
	methodLend  = "hexapod.lend"

	callTime = 10 * time.Second // for one call; a child that takes longer hangs
)

// ErrNone says that no child listens.
var ErrNone = errors.New("no such child runs")

// Spec says which child is meant and how to start it.
type Spec struct {
	Name   string // "nat64"; also the word behind `hexapod child`
	RunDir string // folder of the socket
	User   uint32 // user and group of the process; not 0
	// Program and Args start it; empty: this same program, with the words child and Name.
	Program string
	Args    []string
	Env     []string // beside what the package itself needs
	Stderr  *os.File // nil: that of this process
}

// Named is an open file under the name by which the child knows it.
type Named struct {
	Name string
	File *os.File
}

func (s Spec) socket() string { return filepath.Join(s.RunDir, "child-"+s.Name+".sock") }

// start runs a new child. files stay open here.
func (s Spec) start(files []Named, state []byte, log *slog.Logger) (*exec.Cmd, error) {
	l, err := s.listen()
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if len(state) > 0 {
		f, err := memory(state)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		files = append(files[:len(files):len(files)], Named{stateName, f})
	}
	program, args := s.Program, s.Args
	if program == "" {
		program, args = "/proc/self/exe", []string{"child", s.Name}
	}
	cmd := exec.Command(program, args...)
	cmd.Args[0] = "hexapod" // what ps shows
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{l}
	names := make([]string, 0, len(files))
	for _, f := range files {
		names, cmd.ExtraFiles = append(names, f.Name), append(cmd.ExtraFiles, f.File)
	}
	cmd.Env = append(s.Env, filesVariable+"="+strings.Join(names, " "))
	if cmd.Stderr = os.Stderr; s.Stderr != nil {
		cmd.Stderr = s.Stderr
	}
	// A session of its own: what ends the agent's group does not end the child. All capabilities go with the user (capabilities(7)).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: s.User, Gid: s.User}}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the child %s: %w", s.Name, err)
	}
	log.Info("child started", "child", s.Name, "pid", cmd.Process.Pid)
	return cmd, nil
}

// listen makes the socket, for root alone. The caller holds the lock of the run folder.
func (s Spec) listen() (*os.File, error) {
	path := s.socket()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace the socket of the child %s: %w", s.Name, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket of the child %s: %w", s.Name, err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	return l.File()
}

// memory is a file that lives nowhere, read from its begin.
func memory(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("hexapod-state", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("state of a child: %w", err)
	}
	f := os.NewFile(uintptr(fd), stateName)
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("state of a child: %w", err)
	}
	return f, nil
}

// dial connects to the child that runs, whoever started it. ErrNone: there is none.
func (s Spec) dial() (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.socket(), Net: "unix"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNone
	}
	return c, err
}

// Call asks the child that runs. in and out are JSON; files are given to it. An error of the child is an error.
func (s Spec) Call(ctx context.Context, method string, in, out any, files ...*os.File) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	c, err := s.dial()
	if err != nil {
		return fmt.Errorf("child %s: %w", s.Name, err)
	}
	defer c.Close()
	end := context.AfterFunc(ctx, func() { c.Close() })
	defer end()
	var a answer
	if err := c.SetDeadline(time.Now().Add(callTime)); err != nil {
		return err
	}
	if err = send(c, question{method, body}, files, nil); err == nil {
		var more []*os.File
		more, err = receive(c, &a)
		closeAll(more)
	}
	switch {
	case err != nil:
		return fmt.Errorf("child %s: %s: %w", s.Name, method, err)
	case a.Error != "":
		return fmt.Errorf("child %s: %s", s.Name, a.Error)
	case out != nil && len(a.Body) > 0:
		return json.Unmarshal(a.Body, out)
	}
	return nil
}

// Lend asks the child that runs for copies of its files: who holds them too keeps what they are open for, whatever becomes of the child.
// The caller closes them. The child goes on as before.
func (s Spec) Lend(ctx context.Context) ([]Named, error) {
	c, err := s.dial()
	if err != nil {
		return nil, fmt.Errorf("child %s: %w", s.Name, err)
	}
	defer c.Close()
	end := context.AfterFunc(ctx, func() { c.Close() })
	defer end()
	_, files, err := s.ask(c, methodLend)
	return files, err
}

// ask sends a question that is answered with files.
func (s Spec) ask(c *net.UnixConn, method string) (a answer, files []Named, err error) {
	word := strings.TrimPrefix(method, "hexapod.")
	if err := c.SetDeadline(time.Now().Add(callTime)); err != nil {
		return a, nil, err
	}
	var open []*os.File
	if err = send(c, question{Method: method}, nil, nil); err == nil {
		open, err = receive(c, &a)
	}
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, io.EOF): // it was ending already
		return a, nil, ErrNone
	case err != nil:
		return a, nil, fmt.Errorf("child %s: %s: %w", s.Name, word, err)
	case a.Error != "":
		err = fmt.Errorf("child %s: %s: %s", s.Name, word, a.Error)
	case len(open) != len(a.Files):
		err = fmt.Errorf("child %s: %s: %d files came, it named %d", s.Name, word, len(open), len(a.Files))
	}
	if err != nil {
		closeAll(open)
		return a, nil, err
	}
	for i, f := range open {
		files = append(files, Named{a.Files[i], f})
	}
	return a, files, nil
}

// leave asks the child that runs to end, and returns what it had.
func (s Spec) leave() (files []Named, state []byte, err error) {
	c, err := s.dial()
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	a, files, err := s.ask(c, methodLeave)
	if err == nil && a.State > maxFrame {
		err = fmt.Errorf("child %s leaves: a state of %d bytes", s.Name, a.State)
	}
	if err == nil {
		state = make([]byte, a.State)
		_, err = io.ReadFull(c, state)
	}
	if err != nil {
		for _, f := range files {
			f.File.Close()
		}
		return nil, nil, err
	}
	return files, state, nil
}
