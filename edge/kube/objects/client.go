package objects

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Client speaks to one API server. It may be used from any number of goroutines.
type Client struct {
	http  *http.Client
	watch *http.Client // without a limit on how long an answer may take
	base  *url.URL

	mu    sync.Mutex
	heard map[string]uint64 // guarded by mu
}

// Heard is how many changes of objects the API server told of, by resource (plural). Whole lists do not count.
func (c *Client) Heard() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.heard)
}

func (c *Client) hears(plural string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard = map[string]uint64{}
	}
	c.heard[plural]++
}

// Connect makes a client from a kubeconfig file; with no file, from the service account of the pod it runs in. userAgent is what
// the API server writes into its audit log. Nothing is sent yet.
func Connect(kubeconfig, userAgent string) (*Client, error) {
	c, err := configuration(kubeconfig)
	if err != nil {
		if kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
			return nil, errors.New("not inside a pod and no kubeconfig given: write --kubeconfig FILE")
		}
		return nil, fmt.Errorf("kubernetes API server: %w", err)
	}
	c.UserAgent = userAgent
	return NewClient(c)
}

// configuration reads a kubeconfig, or the service account where there is none. clientcmd would do both, and log a warning.
func configuration(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// requestTimeout is how long any answer but that of a watch may take, unless the configuration says it.
const requestTimeout = 30 * time.Second

// NewClient makes a client of a configuration of client-go, which brings TLS, tokens that are renewed, and proxies.
func NewClient(c *rest.Config) (*Client, error) {
	base, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, fmt.Errorf("kubernetes API server %s: %w", c.Host, err)
	}
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("kubernetes API server %s: %w", c.Host, err)
	}
	return &Client{http: &http.Client{Transport: h.Transport, Timeout: cmp.Or(c.Timeout, requestTimeout)}, watch: &http.Client{Transport: h.Transport}, base: base}, nil
}

// Server returns the address of the API server, for people.
func (c *Client) Server() string { return c.base.Host }

// request is one request to the API server.
type request struct {
	method, path string
	query        url.Values
	accept       string // "": JSON
	contentType  string // of the body; "": JSON
	body         any    // marshalled, unless it is bytes
}

const jsonType = "application/json"

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		data, ok := r.body.([]byte)
		if !ok {
			var err error
			if data, err = json.Marshal(r.body); err != nil {
				return nil, fmt.Errorf("write %s as JSON: %w", r.path, err)
			}
		}
		body = bytes.NewReader(data)
	}
	u := *c.base
	u.Path, u.RawQuery = r.path, r.query.Encode()
	q, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if r.accept == "" {
		r.accept = jsonType
	}
	q.Header.Set("Accept", r.accept)
	if body != nil {
		if r.contentType == "" {
			r.contentType = jsonType
		}
		q.Header.Set("Content-Type", r.contentType)
	}
	return q, nil
}

// do sends a request and decodes the answer into out, unless that is nil. An API server that asks for patience gets it, as long
// as ctx lasts: what it refused with 429 it did not begin.
func (c *Client) do(ctx context.Context, r request, out any) error {
	for {
		q, err := c.newRequest(ctx, r)
		if err != nil {
			return err
		}
		answer, err := c.http.Do(q)
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		err = read(answer, out)
		var refused *StatusError
		if errors.As(err, &refused) && refused.Code == http.StatusTooManyRequests && wait(ctx, max(refused.RetryAfter, time.Second)) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
		return nil
	}
}

func read(answer *http.Response, out any) error {
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return statusError(answer)
	}
	data, err := io.ReadAll(answer.Body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// wait waits; false: ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// StatusError is an answer of the API server that is not what was asked for.
type StatusError struct {
	Code    int    `json:"code"`   // of HTTP
	Reason  string `json:"reason"` // one word, such as NotFound
	Message string `json:"message"`
	// RetryAfter is how long the server wants to be left alone.
	RetryAfter time.Duration `json:"-"`
}

// Error returns the words of the API server.
func (e *StatusError) Error() string {
	if e.Message == "" {
		return "API server: " + strconv.Itoa(e.Code) + " " + http.StatusText(e.Code)
	}
	return "API server: " + e.Message
}

// The answers that callers decide by: errors.Is(err, ErrNotFound).
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrConflict = errors.New("written by somebody else in between")
	ErrGone     = errors.New("this version of the list is gone")
	ErrRefused  = errors.New("refused as invalid")
	ErrDenied   = errors.New("not allowed")
)

// Is tells which of the known answers this is. AlreadyExists and Conflict share a code, so the word decides.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Code == http.StatusNotFound
	case ErrExists:
		return e.Reason == "AlreadyExists"
	case ErrConflict:
		return e.Code == http.StatusConflict && e.Reason != "AlreadyExists"
	case ErrGone:
		return e.Code == http.StatusGone
	case ErrRefused:
		return e.Code == http.StatusUnprocessableEntity
	case ErrDenied:
		return e.Code == http.StatusForbidden || e.Code == http.StatusUnauthorized
	}
	return false
}

// maxErrorBody is how much of an unexpected answer is read.
const maxErrorBody = 64 << 10

func statusError(answer *http.Response) error {
	e := &StatusError{}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxErrorBody))
	if err != nil || json.Unmarshal(data, e) != nil {
		e.Message = fmt.Sprintf("%s: %.200s", answer.Status, data)
	}
	e.Code = answer.StatusCode
	if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
