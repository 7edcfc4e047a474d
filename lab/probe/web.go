package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Port is where the server of an endpoint listens.
const Port = 8080

// Answer is what the server says to every request.
type Answer struct {
	Name   string     `json:"name"`   // of the server
	Client netip.Addr `json:"client"` // as the server sees it: without translation this is the client's own address
}

// Listen opens the server's socket inside.
func Listen(in Inside, port uint16) (net.Listener, error) {
	return listen(in, "tcp6", netip.AddrPortFrom(netip.IPv6Unspecified(), port))
}

// ListenIPv4 opens the socket of a server that has IPv4 alone.
func ListenIPv4(in Inside, port uint16) (net.Listener, error) {
	return listen(in, "tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port))
}

func listen(in Inside, network string, at netip.AddrPort) (net.Listener, error) {
	var l *net.TCPListener
	err := in(func() error {
		var err error
		l, err = net.ListenTCP(network, net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", at.Port(), err)
	}
	return listener{l}, nil
}

// listener gives its port back when it is closed. Closing alone does not: a program that this process is just starting has a copy of every
// socket from fork(2) until execve(2), however long the machine takes to come to that, and a socket listens as long as anybody has it.
type listener struct{ *net.TCPListener }

// Close ends the listening for all who have the socket (shutdown(2); tcp_disconnect of Linux) and closes this process's own copy.
func (l listener) Close() error {
	raw, err := l.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) }) // what listens no more is well
	}
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return errors.Join(err, l.TCPListener.Close())
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, name string) error {
	server := &http.Server{
		ReadHeaderTimeout: 2 * time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from, err := netip.ParseAddrPort(r.RemoteAddr)
			if err != nil {
				http.Error(w, "the client's address is unreadable", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(Answer{name, from.Addr()}) // a client that went away needs no answer
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve as %s: %w", name, err)
	}
	return nil
}

// Get asks the server at dst from inside, on a connection of its own.
func Get(ctx context.Context, in Inside, dst netip.AddrPort) (Answer, error) {
	return GetAs(ctx, in, dst.String(), dst)
}

// GetAs asks the server at dst as http://host/.
func GetAs(ctx context.Context, in Inside, host string, dst netip.AddrPort) (Answer, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
			err = in(func() error {
				var d net.Dialer
				c, err = d.DialContext(ctx, network, dst.String())
				return err
			})
			return c, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", dst, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", dst, err)
	}
	defer resp.Body.Close()
	var a Answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&a); err != nil {
		return Answer{}, fmt.Errorf("read the answer of %s (%s): %w", dst, resp.Status, err)
	}
	return a, nil
}
