package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"hexapod.dev/agent/resolver"
	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/child"
	"hexapod.dev/linux/datagram"
)

const (
	dnsGarbage = 16 << 20    // octets that may lie about until the collector runs
	dnsLeave   = time.Second // for clients that wait, when it is replaced
)

// keepLittleGarbage tells the collector how much may lie about, as a part of what lives: that is the cache, which it has not to look at.
func keepLittleGarbage(cache int) {
	debug.SetGCPercent(max(1, 100*dnsGarbage/(dnsGarbage+cache)))
}

// dnsChild is the DNS server of a host.
type dnsChild struct {
	self   *child.Self
	log    *slog.Logger
	server chan *dns.Server // holds it once it is configured
	ready  chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}
}

// serveDNS is `hexapod child dns`: it answers on the sockets it was given, as it is told to.
func serveDNS(ctx context.Context, self *child.Self, log *slog.Logger) error {
	work, stop := context.WithCancel(ctx)
	defer stop()
	c := &dnsChild{self: self, log: log, server: make(chan *dns.Server, 1), ready: make(chan struct{}), stop: stop, ended: make(chan struct{})}
	failed := make(chan error, 1)
	go func() {
		defer close(c.ended)
		failed <- c.answer(work)
	}()
	control, end := context.WithCancel(ctx)
	defer end()
	go func() {
		<-c.ended
		if work.Err() == nil { // it failed: the agent starts another
			end()
		}
	}()
	err := self.Serve(control, child.Service{Call: c.call, Leave: c.leave})
	stop()
	return errors.Join(err, <-failed)
}

// answer serves from the first configuration on.
func (c *dnsChild) answer(ctx context.Context) error {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil
	}
	var datagrams []dns.Datagrams
	var streams []*net.TCPListener
	for _, name := range c.self.Files() {
		if strings.HasPrefix(name, "udp-") {
			p, err := net.FilePacketConn(c.self.File(name))
			if err != nil {
				return fmt.Errorf("socket %s: %w", name, err)
			}
			defer p.Close()
			d, err := datagram.New(p.(*net.UDPConn))
			if err != nil {
				return fmt.Errorf("socket %s: %w", name, err)
			}
			datagrams = append(datagrams, d)
		} else {
			l, err := net.FileListener(c.self.File(name))
			if err != nil {
				return fmt.Errorf("socket %s: %w", name, err)
			}
			defer l.Close()
			streams = append(streams, l.(*net.TCPListener))
		}
	}
	server := <-c.server
	c.server <- server
	return server.Serve(ctx, datagrams, streams)
}

func (c *dnsChild) call(ctx context.Context, r child.Request) (any, error) {
	if r.Method == resolver.CallConfigure {
		return nil, c.configure(r.Body)
	}
	select {
	case <-c.ready:
	default:
		return nil, errors.New("it is not configured yet")
	}
	server := <-c.server
	c.server <- server
	switch r.Method {
	case resolver.CallStatus:
		return server.Status(), nil
	case resolver.CallLookup:
		var q dns.LookupRequest
		if err := json.Unmarshal(r.Body, &q); err != nil {
			return nil, err
		}
		return server.Lookup(ctx, q)
	case resolver.CallDiscover:
		var q dns.DiscoverRequest
		if err := json.Unmarshal(r.Body, &q); err != nil {
			return nil, err
		}
		return server.Discover(ctx, q), nil
	}
	return nil, fmt.Errorf("method %q is not known", r.Method)
}

func (c *dnsChild) configure(body []byte) error {
	var want dns.Config
	if err := json.Unmarshal(body, &want); err != nil {
		return err
	}
	select {
	case server := <-c.server:
		defer func() { c.server <- server }()
		err := server.Configure(want)
		keepLittleGarbage(server.Status().CacheLimit)
		return err
	default:
	}
	server, err := dns.New(want, c.log)
	if err != nil {
		return err
	}
	keepLittleGarbage(server.Status().CacheLimit)
	c.server <- server
	close(c.ready)
	return nil
}

// leave stops answering. Questions that come from now on wait in the sockets for the next child.
func (c *dnsChild) leave() ([]byte, error) {
	c.stop()
	select {
	case <-c.ended:
	case <-time.After(dnsLeave):
	}
	return nil, nil
}
