package scenario

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"hexapod.dev/lab/probe"
)

// server is one that greets while the script goes on.
type server struct {
	stop context.CancelFunc
	done chan error
}

// doServe starts a server inside a name, or ends it.
func doServe(s *session, _ *testscript.TestScript, args []string) error {
	if args[0] == "stop" {
		return s.stopServing(args[1])
	}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	in, err := s.lab.Inside(args[0])
	if err != nil {
		return err
	}
	l, err := probe.Listen(in, uint16(port))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(s.ctx)
	v := &server{stop, make(chan error, 1)}
	go func() { v.done <- probe.Greet(ctx, l, args[0]) }()
	if s.servers == nil {
		s.servers = map[string]*server{}
	}
	s.servers[args[0]] = v
	return nil
}

func (s *session) stopServing(name string) error {
	v, ok := s.servers[name]
	if !ok {
		return fmt.Errorf("serve stop %s: nobody serves there", name)
	}
	delete(s.servers, name)
	v.stop()
	return <-v.done
}
