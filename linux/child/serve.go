package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Request is one call of the agent.
type Request struct {
	Method string
	Body   json.RawMessage
	Files  []*os.File // opened by the agent; closed after the call unless Keep took them
}

// Service is what a child does for the agent.
type Service struct {
	// Call answers a request. Calls of several connections run beside each other.
	Call func(context.Context, Request) (any, error)
	// Leave ends the work for good and returns what the next child needs to go on. It is called at most once; nil is nothing to say.
	Leave func() ([]byte, error)
}

// Self is the child's own side.
type Self struct {
	listener *net.UnixListener
	state    []byte

	mu    sync.Mutex
	files map[string]*os.File
}

// Begin is the first thing a child does: it takes the files it was started with and gives up every privilege it will not need.
func Begin() (*Self, error) {
	if unix.Getuid() == 0 {
		return nil, errors.New("a child must not run as root; only the agent starts it")
	}
	f := os.NewFile(listenFD, "listener")
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket of this child (only the agent starts it): %w", err)
	}
	defer f.Close()
	// To listen again makes the kernel name this process to who connects, and not the agent.
	if err := unix.Listen(listenFD, 16); err != nil {
		return nil, err
	}
	_ = os.WriteFile("/proc/self/comm", []byte("hexapod"), 0) // what ps shows; "exe" would do
	s := &Self{listener: l.(*net.UnixListener), files: map[string]*os.File{}}
	for i, name := range strings.Fields(os.Getenv(filesVariable)) {
		fd := listenFD + 1 + i
		unix.CloseOnExec(fd)
		s.files[name] = os.NewFile(uintptr(fd), name)
	}
	if f := s.files[stateName]; f != nil {
		delete(s.files, stateName)
		s.state, err = io.ReadAll(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("what the child before left: %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return nil, err
	}
	return s, confine()
}

// State returns what the child before this one left; nil if this is the first.
func (s *Self) State() []byte { return s.state }

// File returns a file this child was started with or has kept, or nil. It stays owned by s.
func (s *Self) File(name string) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name]
}

// Files returns the names of all files, sorted.
func (s *Self) Files() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.files))
}

// all returns the files with their names, sorted by them.
func (s *Self) all() (names []string, files []*os.File) {
	names = s.Files()
	for _, name := range names {
		files = append(files, s.File(name))
	}
	return names, files
}

// Keep puts a file under a name that the next child will find it by; nil takes the name away. The one before is closed.
func (s *Self) Keep(name string, f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.files[name]; old != nil && old != f {
		old.Close()
	}
	if f == nil {
		delete(s.files, name)
	} else {
		s.files[name] = f
	}
}

// acceptAgain is the time until a connection that could not be taken is tried again.
const acceptAgain = 100 * time.Millisecond

// Serve answers the agent until ctx ends or the agent asks the child to leave. That the agent ends means nothing: the next one finds
// the socket.
func (s *Self) Serve(ctx context.Context, service Service) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer stop()
	server := &server{self: s, service: service, leave: cancel}
	var wait sync.WaitGroup
	defer wait.Wait()
	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, net.ErrClosed):
				return err
			}
			rest(ctx, acceptAgain) // out of files or memory: the work goes on, and gives some back
			continue
		}
		wait.Go(func() {
			end := context.AfterFunc(ctx, func() { c.Close() })
			defer end()
			defer c.Close()
			server.talk(ctx, c)
		})
	}
}

// server answers connections.
type server struct {
	self    *Self
	service Service
	leave   func()
	once    sync.Once
	left    leaving
}

// leaving is what remains of a child that leaves.
type leaving struct {
	state []byte
	err   error
}

// talk answers one connection to its end.
func (s *server) talk(ctx context.Context, c *net.UnixConn) {
	for {
		var q question
		files, err := receive(c, &q)
		if err != nil {
			return
		}
		switch q.Method {
		case methodWatch:
			err = send(c, answer{}, nil, nil)
		case methodLend:
			names, open := s.self.all()
			err = send(c, answer{Files: names}, open, nil)
		case methodLeave:
			s.handOver(c)
			return
		default:
			err = s.call(ctx, c, Request{q.Method, q.Body, files})
		}
		if err != nil {
			return
		}
	}
}

func (s *server) call(ctx context.Context, c *net.UnixConn, r Request) error {
	var a answer
	v, err := s.service.Call(ctx, r)
	if err == nil && v != nil {
		a.Body, err = json.Marshal(v)
	}
	if err != nil {
		a = answer{Error: err.Error()}
	}
	for _, f := range r.Files {
		if !s.self.keeps(f) {
			f.Close()
		}
	}
	return send(c, a, nil, nil)
}

func (s *Self) keeps(f *os.File) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kept := range s.files {
		if kept == f {
			return true
		}
	}
	return false
}

// handOver ends the work, gives all files and the state to who asked, and ends the child when that one hangs up.
func (s *server) handOver(c *net.UnixConn) {
	s.once.Do(func() {
		if s.service.Leave != nil {
			s.left.state, s.left.err = s.service.Leave()
		}
	})
	names, files := s.self.all()
	a := answer{Files: names, State: len(s.left.state)}
	if s.left.err != nil {
		a.Error = s.left.err.Error()
	}
	if send(c, a, files, s.left.state) == nil {
		_, _ = c.Read(make([]byte, 1)) // until the other side has it all
	}
	s.leave()
}
