package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"hexapod.dev/linux/nat64"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// Translating is a Source that translates between IPv6 and IPv4.
type Translating interface {
	// NAT64 tells what the translator holds; of endpoints and blocks it names at most top.
	NAT64(ctx context.Context, top int) (nat64.Status, error)
	// NAT64Bindings lists at most n bindings.
	NAT64Bindings(ctx context.Context, n int) ([]xnat64.Entry, error)
	// NAT64Who tells who had a port of the pool at a time; false: nobody.
	NAT64Who(ctx context.Context, addr netip.AddrPort, at time.Time) (nat64.Had, bool, error)
	// NAT64Upstream tells of a NAT64 that others run and the host uses.
	NAT64Upstream() Upstream
}

func translating(mux *http.ServeMux, src Translating) {
	upstream(mux, src)
	number := func(w http.ResponseWriter, r *http.Request) (int, bool) {
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil || n < 0 {
			refuse(w, http.StatusBadRequest, errors.New("n: want how many to list"))
		}
		return n, err == nil && n >= 0
	}
	mux.HandleFunc("GET /v1/nat64", func(w http.ResponseWriter, r *http.Request) {
		if n, ok := number(w, r); ok {
			s, err := src.NAT64(r.Context(), n)
			answer(w, s, err)
		}
	})
	mux.HandleFunc("GET /v1/nat64/sessions", func(w http.ResponseWriter, r *http.Request) {
		if n, ok := number(w, r); ok {
			list, err := src.NAT64Bindings(r.Context(), n)
			answer(w, list, err)
		}
	})
	mux.HandleFunc("GET /v1/nat64/who", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		addr, err := netip.ParseAddrPort(q.Get("addr"))
		at := time.Now()
		if err == nil && q.Get("at") != "" {
			at, err = time.Parse(time.RFC3339, q.Get("at"))
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("want addr=192.0.2.1:1024 and perhaps at=2026-01-31T12:00:00Z: %w", err))
			return
		}
		h, found, err := src.NAT64Who(r.Context(), addr, at)
		if err == nil && !found {
			refuse(w, http.StatusNotFound, fmt.Errorf("nobody had %s at %s, as far as this host knows", addr, at.UTC().Format(time.RFC3339)))
			return
		}
		answer(w, h, err)
	})
}

// NAT64 asks what the translator of this host holds.
func (c *Client) NAT64(ctx context.Context, top int) (s nat64.Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/nat64?n="+strconv.Itoa(top), &s)
}

// NAT64Bindings asks for bindings.
func (c *Client) NAT64Bindings(ctx context.Context, n int) (list []xnat64.Entry, err error) {
	return list, c.ask(ctx, http.MethodGet, "/v1/nat64/sessions?n="+strconv.Itoa(n), &list)
}

// NAT64Who asks who had a port of the pool; the zero time is now.
func (c *Client) NAT64Who(ctx context.Context, addr netip.AddrPort, at time.Time) (h nat64.Had, err error) {
	q := url.Values{"addr": {addr.String()}}
	if !at.IsZero() {
		q.Set("at", at.Format(time.RFC3339))
	}
	return h, c.ask(ctx, http.MethodGet, "/v1/nat64/who?"+q.Encode(), &h)
}
