// Package internet is servers of the rest of the world, for a cluster without IPv4: of the web and of images, which have IPv4 alone.
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
	"os"
	"time"

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
	Cert   string            // file of the certificate of the registry
	Key    string            // and of its key
	Images map[string]string // by name and tag: files, as docker save writes them
}

// Parts of the world; each is a program on a machine of its own.
const (
	PartSix  = "six"  // Both, on a machine with IPv6
	PartFour = "four" // all of them, on one that has IPv4 alone
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
	case PartSix:
		l, err := probe.Listen(probe.Here, webPort)
		if err != nil {
			return err
		}
		return probe.Serve(ctx, l, part)
	case PartFour:
		return c.four(ctx, log)
	}
	return fmt.Errorf("part %q: want %s or %s", part, PartSix, PartFour)
}

// four answers by IPv4 alone: as web server, and as registry, which logs who asked for what.
func (c Config) four(ctx context.Context, log *slog.Logger) error {
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
	ctx, cancel := context.WithCancel(ctx) // what ends one ends the other
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- probe.Serve(ctx, web, PartFour)
	}()
	err = serve(ctx, secure, logged(images, log))
	cancel()
	return errors.Join(err, <-ended)
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
