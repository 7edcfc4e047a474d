package dhcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"
)

// releaseExchange are REL_TIMEOUT and REL_MAX_RC of RFC 8415 7.6: after 15 seconds without an answer the lease is left to its end.
var releaseExchange = exchange{initial: time.Second, count: 4}

// Release gives back what was delegated to a host that has no use for it any more (RFC 8415 18.2.7), and returns it. It is forgotten
// before the server is told; the identifier of the host stays. answered says that the server knows. Nobody else may use the store
// meanwhile. Of o it takes Link, Port, Clock and Store.
func Release(ctx context.Context, o Options) (released []netip.Prefix, answered bool, err error) {
	kept, err := o.Store.Load()
	if err != nil {
		return nil, false, err
	}
	m := Message{Kind: releaseKind, Client: kept.DUID, Server: kept.Lease.Server, IA: &IA{ID: (&Client{o: o}).iaid()}}
	for _, d := range kept.Lease.Prefixes {
		if !d.Withdrawn && o.Clock.Now().Before(d.Valid) {
			m.IA.Prefixes = append(m.IA.Prefixes, Offer{Prefix: d.Prefix}) // lifetimes of 0 (RFC 8415 18.2.7)
			released = append(released, d.Prefix)
		}
	}
	kept.Lease = Lease{}
	if err := o.Store.Save(kept); err != nil || released == nil || m.Server == nil {
		return released, false, err
	}
	if _, err := rand.Read(m.Transaction[:]); err != nil {
		return released, false, err
	}
	answered, err = tellReleased(ctx, o, m)
	return released, answered, err
}

// tellReleased sends the message until its answer comes or it was sent often enough.
func tellReleased(ctx context.Context, o Options, m Message) (answered bool, err error) {
	e := releaseExchange
	for !e.over(o.Clock.Now()) {
		m.Elapsed = e.elapsed(o.Clock.Now())
		e.transmit(o.Clock.Now(), 0)
		b, err := m.Bytes()
		if err == nil {
			err = o.Port.Send(b)
		}
		if err != nil {
			return false, err
		}
		answered, err := replied(ctx, o, m, e.timeout)
		if answered || err != nil || ctx.Err() != nil {
			return answered, errors.Join(err, ctx.Err())
		}
	}
	return false, nil
}

// replied waits for the Reply to m. Whatever it says the prefix is not this host's any more (RFC 8415 18.2.10.2).
func replied(ctx context.Context, o Options, m Message, patience time.Duration) (bool, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		b, err := o.Port.Receive(ctx)
		if ctx.Err() != nil {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		r, err := Parse(b, m.IA.ID)
		if err == nil && r.Kind == Reply && r.Transaction == m.Transaction && bytes.Equal(r.Client, m.Client) {
			return true, nil
		}
	}
}
