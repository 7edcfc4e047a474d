package seeing

import (
	"context"
	"net/netip"
	"sync"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/datapath"
	model "hexapod.dev/model/datapath"
	"hexapod.dev/model/transport"
)

// followers are those who follow what is dropped.
type followers struct {
	first chan struct{} // holds a token when somebody began to follow

	mu       sync.Mutex // guards all following fields
	channels map[chan local.Drop]bool
	last     func() // called when nobody follows any more
}

// dropsWaiting is how many drops wait for a follower that is slow; more are lost to it.
const dropsWaiting = 256

// follow returns a channel of drops, and what ends it.
func (d *followers) follow() (<-chan local.Drop, func()) {
	c := make(chan local.Drop, dropsWaiting)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channels == nil {
		d.channels = map[chan local.Drop]bool{}
	}
	d.channels[c] = true
	select {
	case d.first <- struct{}{}:
	default:
	}
	return c, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.channels, c)
		if len(d.channels) == 0 && d.last != nil {
			d.last()
		}
	}
}

// begin tells whether anybody follows, and what to call when nobody does any more.
func (d *followers) begin(last func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = last
	return len(d.channels) > 0
}

func (d *followers) tell(drop local.Drop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.channels {
		select {
		case c <- drop:
		default:
		}
	}
}

// Run reads what the programs and the kernel tell while anybody follows, until ctx ends. There is one reader: a second one would take drops
// away from it. Every new endpoint has something dropped, which would cost its ADD time for nobody.
func (o *Observer) Run(ctx context.Context) error {
	if o.options.Programs() == nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.followers.first:
		}
		followed, cancel := context.WithCancel(ctx)
		if o.followers.begin(cancel) {
			var kernel sync.WaitGroup
			kernel.Go(func() { o.listen(followed) })
			o.readDrops(followed)
			kernel.Wait()
		}
		cancel()
	}
}

// readDrops reads what the programs tell until ctx ends.
func (o *Observer) readDrops(ctx context.Context) {
	err := o.options.Programs().Maps().Follow(ctx, func(e datapath.Event) error {
		d := local.Drop{Place: e.Place.String(), Why: e.Why.String(), Link: o.linkName(e.Link), Proto: e.Proto, Length: e.Length}
		if e.Src.IsValid() {
			d.From, d.To = netip.AddrPortFrom(e.Src, e.SrcPort), netip.AddrPortFrom(e.Dst, e.DstPort)
		}
		if e.Why == model.Denied && e.Src.IsValid() {
			d.Rule = o.options.Denied(e.Src, e.Dst, transport.Protocol(e.Proto), e.DstPort)
		}
		o.followers.tell(d)
		return nil
	})
	if err != nil {
		o.options.Log.Warn("nobody is told of dropped packets now; counters go on", "error", err)
	}
}

// FollowDrops tells of every packet that is dropped until ctx ends.
func (o *Observer) FollowDrops(ctx context.Context, told func(local.Drop) error) error {
	if o.options.Programs() == nil {
		return errNoPrograms
	}
	c, end := o.followers.follow()
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
