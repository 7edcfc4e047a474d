package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// Source answers the questions of this API. *agent.Agent is one.
type Source interface {
	Report() Status
	Endpoints() []Endpoint
	Routes(ctx context.Context) ([]Route, error)
	// Whereis tells who had addr at a time; the zero time is now. The answer is printed as JSON.
	Whereis(ctx context.Context, addr netip.Addr, at time.Time) (any, error)
	// AcceptClock makes the agent believe the host's clock once, after a person looked at it.
	AcceptClock(ctx context.Context) error
}

// Handler answers the API from src; metrics answers /metrics.
func Handler(src Source, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.Report(), nil) })
	mux.HandleFunc("GET /v1/endpoints", func(w http.ResponseWriter, _ *http.Request) { answer(w, src.Endpoints(), nil) })
	mux.HandleFunc("GET /v1/routes", func(w http.ResponseWriter, r *http.Request) {
		routes, err := src.Routes(r.Context())
		answer(w, routes, err)
	})
	mux.HandleFunc("GET /v1/whereis", func(w http.ResponseWriter, r *http.Request) {
		addr, at, err := whereisQuery(r)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		found, err := src.Whereis(r.Context(), addr, at)
		answer(w, found, err)
	})
	mux.HandleFunc("POST /v1/accept-clock", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, src.AcceptClock(r.Context()))
	})
	if s, ok := src.(Serving); ok {
		serving(mux, s)
	}
	if s, ok := src.(Translating); ok {
		translating(mux, s)
	}
	if s, ok := src.(Policing); ok {
		policing(mux, s)
	}
	if s, ok := src.(Speaking); ok {
		speaking(mux, s)
	}
	if s, ok := src.(Resolving); ok {
		resolving(mux, s)
	}
	if s, ok := src.(Seeing); ok {
		seeing(mux, s)
	}
	mux.Handle("GET /metrics", metrics)
	return mux
}

func whereisQuery(r *http.Request) (addr netip.Addr, at time.Time, err error) {
	q := r.URL.Query()
	if addr, err = netip.ParseAddr(q.Get("addr")); err != nil {
		return addr, at, fmt.Errorf("addr: %w", err)
	}
	if s := q.Get("at"); s != "" {
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			return addr, at, fmt.Errorf("at: want a time like 2026-01-31T12:00:00Z: %w", err)
		}
	}
	return addr, at, nil
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	write(w, http.StatusOK, v)
}

func refuse(w http.ResponseWriter, code int, err error) { write(w, code, Problem{Error: err.Error()}) }

// write sends v. A caller who hung up is no fault of ours, so a write error ends here.
func write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// Listen opens the socket at path, for root alone. A socket that a killed agent left behind is replaced; the caller holds the
// lock of the run folder, so no living agent can lose its socket.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace the old socket: %w", err)
	}
	// Bound under another name and renamed when its mode is right: nobody else can connect in between.
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replace the old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the local API: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("open the local API: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers on l until ctx ends, then waits a moment for requests under way.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
	})
	defer stopped()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("local API: %w", err)
	}
	return nil
}
