package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"unicode/utf8"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/model/desired"
)

// wireRequest is wire.Request as encoding/json reads it.
type wireRequest struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID"`
	NetNS       string          `json:"netns"`
	IfName      string          `json:"ifname"`
	Args        string          `json:"args"`
	Config      json.RawMessage `json:"config"`
}

// answer carries one request out. watch starts to end ctx when the caller goes away; DEL and GC do without, since half a removal is
// of no use to anybody. Whatever is wrong with the line, or goes wrong below, becomes an answer.
func (s *Server) answer(ctx context.Context, line []byte, watch func()) (answer wire.Answer) {
	var r wireRequest
	var version string
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("CNI request failed", "command", r.Command, "panic", p, "stack", string(debug.Stack()))
			answer = failureOf(version, CodeFailed, fmt.Errorf("%s: internal error: %v", r.Command, p))
		}
	}()
	fail := func(err error) wire.Answer { return failureOf(version, CodeFailed, err) }
	if !utf8.Valid(line) {
		return fail(Errorf(wire.CodeDecode, "the request is not valid UTF-8"))
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return fail(Errorf(wire.CodeDecode, "the request: %w", err))
	}
	c, err := parseConfig(r.Config, r.Command)
	version = c.version
	if err != nil {
		return fail(err)
	}
	if r.Command != wire.Del && r.Command != wire.GC {
		watch()
	}
	stdout, err := s.execute(ctx, r, c)
	if err != nil {
		s.Log.Warn("CNI request failed", "command", r.Command, "container", r.ContainerID, "interface", r.IfName, "error", err)
		return fail(err)
	}
	s.Log.Debug("CNI request served", "command", r.Command, "container", r.ContainerID, "interface", r.IfName)
	return wire.Answer{Stdout: stdout}
}

func (s *Server) execute(ctx context.Context, r wireRequest, c config) ([]byte, error) {
	switch r.Command {
	case wire.Add:
		return s.add(ctx, r, c)
	case wire.Del:
		return nil, s.del(ctx, r, c)
	case wire.Check:
		return nil, s.check(ctx, r, c)
	case wire.GC:
		if !c.isValid {
			return nil, Errorf(wire.CodeInvalidConfig, "network configuration: GC without %s; an empty list would remove every endpoint", keyValid)
		}
		s.exclusive.Lock()
		defer s.exclusive.Unlock()
		return nil, s.Backend.GC(ctx, c.name, c.valid)
	case wire.Status:
		if err := s.Backend.Status(ctx); err != nil {
			if codeOf(err, 0) == CodeLimited {
				return nil, err
			}
			return nil, &Error{CodeNotAvailable, err}
		}
		return nil, nil
	case wire.Version:
		return wire.AppendVersions(nil, c.version), nil
	}
	return nil, Errorf(wire.CodeInvalidEnvironment, "CNI_COMMAND is %q, not one of ADD, DEL, CHECK, GC, STATUS, VERSION", r.Command)
}

func (s *Server) add(ctx context.Context, r wireRequest, c config) ([]byte, error) {
	request, err := requestOf(r, c, true)
	if err != nil {
		return nil, err
	}
	if c.prev != nil {
		_, found, err := c.prev.sandboxed(r.IfName, r.NetNS)
		switch {
		case err != nil:
			return nil, Errorf(wire.CodeInvalidConfig, "network configuration: prevResult: %w", err)
		case found:
			return nil, Errorf(wire.CodeInvalidConfig, "network configuration: a plugin before this one made %s in %s already", r.IfName, r.NetNS)
		}
	}
	s.exclusive.RLock()
	defer s.exclusive.RUnlock()
	if err := s.clear(ctx, request.Key); err != nil {
		return nil, err
	}
	attachment, err := s.Backend.Add(ctx, request)
	if err != nil {
		return nil, err
	}
	return addResult(c, attachment)
}

func (s *Server) del(ctx context.Context, r wireRequest, c config) error {
	request, err := requestOf(r, c, false)
	if err != nil {
		return err
	}
	s.exclusive.RLock()
	defer s.exclusive.RUnlock()
	return s.Backend.Del(ctx, request)
}

func (s *Server) check(ctx context.Context, r wireRequest, c config) error {
	request, err := requestOf(r, c, true)
	if err != nil {
		return err
	}
	if c.prev == nil {
		return Errorf(wire.CodeInvalidConfig, "network configuration: CHECK without prevResult")
	}
	attachment, err := s.Backend.Check(ctx, request)
	if err != nil {
		return err
	}
	return checkResult(c.prev, attachment)
}

// requestOf checks the CNI_* variables. Without full, what only an ADD or CHECK needs may be missing or malformed: a DEL has to succeed
// for an endpoint that could never be added.
func requestOf(r wireRequest, c config, full bool) (Request, error) {
	key := desired.EndpointKey{Container: r.ContainerID, Interface: r.IfName}
	if err := checkKey(key); err != nil {
		return Request{}, Errorf(wire.CodeInvalidEnvironment, "%w", err)
	}
	if err := checkNetNS(r.NetNS, full); err != nil {
		return Request{}, err
	}
	args, err := parseArgs(r.Args)
	if err != nil && full {
		return Request{}, err
	}
	q := Request{Key: key, Network: c.name, NetNS: r.NetNS, Namespace: args.namespace, Name: args.name, UID: args.uid}
	if full {
		q.Labels, q.Fixed = c.labels, c.fixed
		if len(q.Fixed) == 0 {
			q.Fixed = args.fixed // CONVENTIONS.md: CNI_ARGS counts only where args says nothing
		}
	}
	return q, nil
}

// checkNetNS refuses what cannot be a path. Whether a namespace is there is for the backend to find out.
func checkNetNS(path string, needed bool) error {
	switch {
	case path == "" && needed:
		return Errorf(wire.CodeInvalidEnvironment, "CNI_NETNS is empty")
	case path != "" && path[0] != '/':
		return Errorf(wire.CodeInvalidEnvironment, "CNI_NETNS is %q, not an absolute path", path)
	case len(path) >= maxPath:
		return Errorf(wire.CodeInvalidEnvironment, "CNI_NETNS is longer than a path can be, %d bytes", maxPath-1)
	}
	return nil
}

const maxPath = 4096 // PATH_MAX of Linux, final zero included
