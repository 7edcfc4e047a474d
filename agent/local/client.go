package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"syscall"
	"time"
)

// NoAgentError says that nobody answers on the socket.
type NoAgentError struct{ Socket string }

func (e *NoAgentError) Error() string {
	return fmt.Sprintf("no agent answers at %s: start `hexapod agent`, or name its run folder with --run", e.Socket)
}

// Client asks the agent of a run folder.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client for the agent whose sockets lie in runDir. It opens nothing yet.
func NewClient(runDir string) *Client {
	c := &Client{path: filepath.Join(runDir, Socket)}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.path)
		},
	}
	return c
}

// Status asks what the agent has done and what not.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/status", &s)
}

// Endpoints asks for the endpoints of the host.
func (c *Client) Endpoints(ctx context.Context) (e []Endpoint, err error) {
	return e, c.ask(ctx, http.MethodGet, "/v1/endpoints", &e)
}

// Routes asks for the routes the host should hold.
func (c *Client) Routes(ctx context.Context) (r []Route, err error) {
	return r, c.ask(ctx, http.MethodGet, "/v1/routes", &r)
}

// Whereis asks who had addr at a time, the zero time being now, and decodes the answer into found.
func (c *Client) Whereis(ctx context.Context, addr netip.Addr, at time.Time, found any) error {
	q := url.Values{"addr": {addr.String()}}
	if !at.IsZero() {
		q.Set("at", at.UTC().Format(time.RFC3339))
	}
	return c.ask(ctx, http.MethodGet, "/v1/whereis?"+q.Encode(), found)
}

// AcceptClock tells the agent that a person looked at the host's clock and it is right.
func (c *Client) AcceptClock(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/v1/accept-clock", &struct{}{})
}

// Metrics returns the text that Prometheus reads.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	body, err := c.fetch(ctx, http.MethodGet, "/metrics")
	return string(body), err
}

func (c *Client) ask(ctx context.Context, method, path string, v any) error {
	body, err := c.fetch(ctx, method, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("answer of the agent at %s: %w", c.path, err)
	}
	return nil
}

func (c *Client) fetch(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, &NoAgentError{Socket: c.path}
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the agent at %s answers root only: %w", c.path, err)
	case err != nil:
		return nil, fmt.Errorf("ask the agent at %s: %w", c.path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w", c.path, err)
	}
	if resp.StatusCode != http.StatusOK {
		var p Problem
		if json.Unmarshal(bytes.TrimSpace(body), &p) == nil && p.Error != "" {
			return nil, errors.New(p.Error)
		}
		return nil, fmt.Errorf("the agent at %s answered %s", c.path, resp.Status)
	}
	return body, nil
}
