package cni

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hexapod.dev/edge/cni/wire"
)

// Limits of the server.
const (
	maxServed    = 256                   // requests at a time; more wait in the socket's backlog
	requestLimit = 5 * time.Second       // for the request line to arrive
	answerLimit  = 10 * time.Second      // for the answer line to leave
	graceLimit   = 5 * time.Second       // for requests under way when the server stops
	lookAfter    = 50 * time.Millisecond // before the server looks whether the caller is still there: most are answered by then
	beatInterval = 10 * time.Second      // between two signs of life
)

// Server answers the plugin on a unix socket.
type Server struct {
	RunDir   string // the socket and the sign of life lie here; made if missing
	StateDir string // its folder tombstones/ is replayed
	Backend  Backend
	Log      *slog.Logger // nil: slog.Default()

	// Ready is called once, when the tombstones are replayed and connections are taken. May be nil.
	Ready func()

	// exclusive is held for writing by what must not meet an ADD or DEL: GC, and the replay of tombstones.
	exclusive sync.RWMutex
}

// Run replays the tombstones, then serves until ctx ends. Requests under way get a few seconds to finish; then their contexts end.
// A second server on the same socket is refused.
func (s *Server) Run(ctx context.Context) error {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if err := os.MkdirAll(s.RunDir, 0o755); err != nil {
		return fmt.Errorf("serve CNI: %w", err)
	}
	socket := filepath.Join(s.RunDir, wire.SocketName)
	listener, err := listen(ctx, socket)
	if err != nil {
		return fmt.Errorf("serve CNI: %w", err)
	}
	// Before the socket closes its name goes, so that a successor's socket of the same name is never removed.
	stopListening := sync.OnceFunc(func() {
		os.Remove(socket)
		listener.Close()
	})
	defer stopListening()
	defer context.AfterFunc(ctx, stopListening)()
	s.replay(ctx)
	s.beat(ctx)

	living, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { s.keepAlive(living) })
	defer background.Wait()
	defer cancel()
	if s.Ready != nil {
		s.Ready()
	}
	if err := s.accept(ctx, listener); ctx.Err() == nil {
		return fmt.Errorf("serve CNI on %s: %w", socket, err)
	}
	return nil
}

// accept serves connections until the listener closes, then waits for what is under way.
func (s *Server) accept(ctx context.Context, listener *net.UnixListener) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	var requests sync.WaitGroup
	defer func() {
		hurry := time.AfterFunc(graceLimit, stopWork)
		requests.Wait()
		hurry.Stop()
		stopWork()
	}()
	places := make(chan struct{}, maxServed)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		conn, err := listener.AcceptUnix()
		if err != nil {
			<-places
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors: what is being served gives some back.
			s.Log.Warn("CNI connection not taken", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		requests.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			s.serve(work, conn)
		})
	}
}

// serve answers one connection: one request line, one answer line.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	if err := allowed(conn); err != nil {
		s.reply(conn, failureOf("", CodeFailed, err))
		s.Log.Warn("CNI caller refused", "error", err)
		return
	}
	conn.SetReadDeadline(time.Now().Add(requestLimit))
	line, err := readLine(conn)
	if err != nil {
		if !errors.Is(err, io.EOF) || len(line) > 0 { // a connection that says nothing only looked whether somebody is there
			s.reply(conn, failureOf("", wire.CodeIO, err))
		}
		return
	}
	conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var look *time.Timer
	answer := s.answer(ctx, line, func() { look = time.AfterFunc(lookAfter, func() { cancelWhenGone(conn, cancel) }) })
	if look != nil {
		look.Stop()
	}
	s.reply(conn, answer)
}

// readLine reads one line of at most wire.MaxLine bytes.
func readLine(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, wire.MaxLine+1), 8<<10).ReadBytes('\n')
	switch {
	case len(line) > wire.MaxLine:
		return line, fmt.Errorf("the request is longer than %d bytes", wire.MaxLine)
	case err != nil:
		return line, fmt.Errorf("the request is cut off after %d bytes: %w", len(line), err)
	}
	return line, nil
}

// cancelWhenGone ends the request's context when the caller closes the connection. It ends when the connection does.
func cancelWhenGone(conn *net.UnixConn, cancel context.CancelFunc) {
	var one [1]byte
	if _, err := conn.Read(one[:]); err != nil {
		cancel()
	}
}

func (s *Server) reply(conn *net.UnixConn, answer wire.Answer) {
	conn.SetWriteDeadline(time.Now().Add(answerLimit))
	if _, err := conn.Write(answer.Append(nil)); err != nil {
		s.Log.Debug("CNI caller went away before its answer", "error", err)
	}
}

func failureOf(version string, otherwise Code, err error) wire.Answer {
	return wire.Answer{Exit: 1, Stdout: wire.AppendError(nil, version, codeOf(err, otherwise), err.Error())}
}
