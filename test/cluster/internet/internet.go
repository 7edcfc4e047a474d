// Package internet is the rest of the world as a cluster without IPv4 sees it: a name server that is asked by IPv6, and a server of the
// web and of images that has IPv4 alone.
package internet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"hexapod.dev/lab/probe"
)

// Names that there are (RFC 6761 6.2).
const (
	Web      = "www.four.test"      // has an IPv4 address and nothing else
	Alias    = "alias.four.test"    // leads to Web
	Registry = "registry.four.test" // of images, has an IPv4 address and nothing else
	Both     = "both.four.test"     // has an address of each family
)

// Ports of the servers.
const (
	webPort   = 80
	imagePort = 443
)

// Config is what the programs are told, by a file of JSON.
type Config struct {
	Server netip.Addr        // IPv4 address of the server
	Six    netip.Addr        // IPv6 address of the name server, which also answers for Both
	Cert   string            // file of the certificate of the registry
	Key    string            // and of its key
	Images map[string]string // by name and tag: files, as docker save writes them
}

// Parts of the world; each is a program on a machine of its own.
const (
	PartNames   = "names"   // on a machine with IPv6
	PartServers = "servers" // on one that has IPv4 alone
)

// Run is one part of the world, until ctx ends.
func Run(ctx context.Context, part, file string, log *slog.Logger) error {
	var c Config
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return fmt.Errorf("read what there is in the world: %w", err)
	}
	switch part {
	case PartNames:
		return c.names(ctx)
	case PartServers:
		return c.servers(ctx, log)
	}
	return fmt.Errorf("part %q: want %s or %s", part, PartNames, PartServers)
}

// names answers questions for names, and as Both by IPv6.
func (c Config) names(ctx context.Context) error {
	l, err := probe.Listen(probe.Here, webPort)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return probe.Serve(ctx, l, "six") })
	g.Go(func() error { return serveNames(ctx, netip.AddrPortFrom(c.Six, namePort), c.zone()) })
	return g.Wait()
}

// servers answers by IPv4 alone: the web, and the registry, which logs who asked for what.
func (c Config) servers(ctx context.Context, log *slog.Logger) error {
	images := registry{}
	for name, file := range c.Images {
		if err := images.add(name, file); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return fmt.Errorf("certificate of the registry: %w", err)
	}
	web, err := probe.ListenIPv4(probe.Here, webPort)
	if err != nil {
		return err
	}
	plain, err := probe.ListenIPv4(probe.Here, imagePort)
	if err != nil {
		return errors.Join(err, web.Close())
	}
	secure := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return probe.Serve(ctx, web, "four") })
	g.Go(func() error { return serve(ctx, secure, logged(images, log)) })
	return g.Wait()
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve images: %w", err)
	}
	return nil
}

// logged writes down who asked for what.
func logged(h http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Info("asked", "client", r.RemoteAddr, "method", r.Method, "path", r.URL.Path)
		h.ServeHTTP(w, r)
	})
}
