package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

// NamesPort is where servers of names listen.
const NamesPort = 53

// nameTTL is how long, in seconds, answers of a server of a name may be remembered.
const nameTTL = 30

// ServeIPv4 is a server that has IPv4 alone: it answers by HTTP, and questions for the one name it has, until ctx ends.
func ServeIPv4(ctx context.Context, who string, name string, addr netip.Addr) error {
	l, err := ListenIPv4(Here, Port)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", NamesPort))
	if err != nil {
		return errors.Join(fmt.Errorf("listen for questions for names: %w", err), l.Close())
	}
	serving, ctx := errgroup.WithContext(ctx)
	serving.Go(func() error { return Serve(ctx, l, who) })
	serving.Go(func() error { return serveName(ctx, conn, name, addr) })
	return serving.Wait()
}

// serveName answers questions for a name that has one IPv4 address and nothing else until ctx ends; no other name exists. It takes conn over.
func serveName(ctx context.Context, conn net.PacketConn, name string, addr netip.Addr) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	b := make([]byte, 512)
	for {
		n, client, err := conn.ReadFrom(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("serve the name %s: %w", name, err)
		}
		if answer, err := answerName(b[:n], name+".", addr); err == nil { // what is no question gets no answer
			_, _ = conn.WriteTo(answer, client) // a client that went away needs none
		}
	}
}

func answerName(question []byte, name string, addr netip.Addr) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(question)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	a := dnsmessage.Message{Header: dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true, RecursionDesired: head.RecursionDesired}, Questions: []dnsmessage.Question{q}}
	record := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: nameTTL}
	known := strings.EqualFold(q.Name.String(), name)
	if known && q.Type == dnsmessage.TypeA {
		a.Answers = []dnsmessage.Resource{{Header: record, Body: &dnsmessage.AResource{A: addr.As4()}}}
		return a.Pack()
	}
	if !known {
		a.RCode = dnsmessage.RCodeNameError
	}
	// How long that may be remembered (RFC 2308 3).
	a.Authorities = []dnsmessage.Resource{{Header: record, Body: &dnsmessage.SOAResource{NS: q.Name, MBox: q.Name, Serial: 1, Refresh: nameTTL, Retry: nameTTL, Expire: nameTTL, MinTTL: nameTTL}}}
	return a.Pack()
}

// lookupPatience bounds one question; it is asked again until the context ends.
const lookupPatience = 2 * time.Second

// Lookup asks a server from inside for the IPv6 addresses of a name, until it has some.
func Lookup(ctx context.Context, in Inside, server netip.Addr, name string) (list []netip.Addr, err error) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		err = in(func() error {
			var d net.Dialer
			c, err = d.DialContext(ctx, network, netip.AddrPortFrom(server, NamesPort).String())
			return err
		})
		return c, err
	}}
	for {
		once, cancel := context.WithTimeout(ctx, lookupPatience)
		list, err = r.LookupNetIP(once, "ip6", name+".")
		cancel()
		if err == nil && len(list) > 0 {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("name %s: %s has no IPv6 address for it", name, server), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
