package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// orders are what the supervisor of a node is told.
type orders struct {
	Node     string    `json:"node"`
	Services []service `json:"services"`
	Env      []string  `json:"env"`
	Logs     string    `json:"logs"`
	State    string    `json:"state"` // file for what became of the services
}

// Service is what became of one service of a node.
type Service struct {
	Name   string    `json:"name"`
	PID    int       `json:"pid,omitempty"` // inside the node; 0: it is not running
	Starts int       `json:"starts"`
	Since  time.Time `json:"since"`          // of its last start or end
	Ended  string    `json:"ended,omitzero"` // how it ended last
}

// restartPause keeps a service that ends at once from eating the machine.
const restartPause = time.Second

// supervisor keeps the services of one node running.
type supervisor struct {
	orders
	mu    sync.Mutex
	state map[string]Service
}

// Supervise runs the services of a node until ctx ends: one that ended is started again after a second. It reads its orders from in.
func Supervise(ctx context.Context, in io.Reader) error {
	s := supervisor{state: map[string]Service{}}
	if err := json.NewDecoder(in).Decode(&s.orders); err != nil {
		return fmt.Errorf("read the services of the node: %w", err)
	}
	var running sync.WaitGroup
	for _, v := range s.Services {
		running.Go(func() { s.keep(ctx, v) })
	}
	running.Wait()
	return nil
}

// keep starts a service, again and again.
func (s *supervisor) keep(ctx context.Context, v service) {
	for {
		err := s.once(ctx, v)
		if ctx.Err() != nil {
			return
		}
		s.note(v.Name, func(x *Service) {
			x.PID, x.Ended = 0, "exit status 0"
			if err != nil {
				x.Ended = err.Error()
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartPause):
		}
	}
}

func (s *supervisor) once(ctx context.Context, v service) error {
	log, err := os.OpenFile(logFile(s.Logs, s.Node, v.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, v.Args[0], v.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = s.Env, "/", log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.note(v.Name, func(x *Service) { x.PID, x.Starts = cmd.Process.Pid, x.Starts+1 })
	return cmd.Wait()
}

// note changes what is known of a service and writes the file for those who ask.
func (s *supervisor) note(name string, change func(*Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.state[name]
	x.Name, x.Since = name, time.Now()
	change(&x)
	s.state[name] = x
	var all []Service
	for _, v := range s.Services {
		if x, ok := s.state[v.Name]; ok {
			all = append(all, x)
		}
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(s.State+".new", text, 0o644)
	}
	if err == nil {
		err = os.Rename(s.State+".new", s.State)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "note what became of %s: %v\n", name, err) // the supervisor's own log
	}
}

func logFile(dir, node, component string) string {
	return filepath.Join(dir, node+"-"+component+".log")
}

// readServices reads what a supervisor wrote. A node without a supervisor has none.
func readServices(file string) ([]Service, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []Service
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of services: %w", err)
	}
	return all, nil
}
