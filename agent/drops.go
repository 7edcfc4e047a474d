package agent

import (
	"context"
	"net/netip"
	"sync"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/datapath"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/transport"
)

// drops passes on what the programs tell of packets that they dropped, to everybody who follows.
type drops struct {
	first chan struct{} // holds a token when somebody began to follow

	mu        sync.Mutex // guards all following fields
	followers map[chan local.Drop]bool
	last      func() // called when nobody follows any more
}

// dropsWaiting is how many drops wait for a follower that is slow; more are lost to it.
const dropsWaiting = 256

// follow returns a channel of drops, and what ends it.
func (d *drops) follow() (<-chan local.Drop, func()) {
	c := make(chan local.Drop, dropsWaiting)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.followers == nil {
		d.followers = map[chan local.Drop]bool{}
	}
	d.followers[c] = true
	select {
	case d.first <- struct{}{}:
	default:
	}
	return c, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.followers, c)
		if len(d.followers) == 0 && d.last != nil {
			d.last()
		}
	}
}

// begin tells whether anybody follows, and what to call when nobody does any more.
func (d *drops) begin(last func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = last
	return len(d.followers) > 0
}

func (d *drops) tell(drop local.Drop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.followers {
		select {
		case c <- drop:
		default:
		}
	}
}

// runDrops reads what the programs tell while anybody follows, until ctx ends. There is one reader: a second one would take drops away
// from it. Every new endpoint has something dropped, which would cost its ADD time for nobody.
func (a *Agent) runDrops(ctx context.Context) error {
	if a.datapath.table == nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.drops.first:
		}
		followed, cancel := context.WithCancel(ctx)
		if a.drops.begin(cancel) {
			a.readDrops(followed)
		}
		cancel()
	}
}

// readDrops reads what the programs tell until ctx ends.
func (a *Agent) readDrops(ctx context.Context) {
	err := a.datapath.table.Maps().Follow(ctx, func(e datapath.Event) error {
		d := local.Drop{Place: e.Place.String(), Why: e.Why.String(), Link: a.linkName(e.Link), Proto: e.Proto, Length: e.Length}
		if e.Src.IsValid() {
			d.From, d.To = netip.AddrPortFrom(e.Src, e.SrcPort), netip.AddrPortFrom(e.Dst, e.DstPort)
		}
		if e.Why == model.Denied && e.Src.IsValid() {
			d.Rule = a.denied(e.Src, e.Dst, transport.Protocol(e.Proto), e.DstPort)
		}
		a.drops.tell(d)
		return nil
	})
	if err != nil {
		a.log.Warn("nobody is told of dropped packets now; counters go on", "error", err)
	}
}

// FollowDrops implements local.Seeing.
func (a *Agent) FollowDrops(ctx context.Context, told func(local.Drop) error) error {
	if a.datapath.table == nil {
		return errNoPrograms
	}
	c, end := a.drops.follow()
	defer end()
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-c:
			if err := told(d); err != nil {
				return err
			}
		}
	}
}
