package seeing

import (
	"context"
	"net/netip"
	"sync"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/dropreason"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
)

// ears hears what the kernel itself drops in the namespaces of the host and of its endpoints, while somebody follows.
type ears struct {
	mu    sync.Mutex                     // guards all following fields
	open  *dropreason.Ears               // nil: nobody follows
	links map[desired.EndpointKey]uint32 // index of the link to each endpoint that is listened to
}

// listen tells of what the kernel drops until ctx ends. A kernel that cannot tell takes nothing else away from who follows.
func (o *Observer) listen(ctx context.Context) {
	open, err := dropreason.Open()
	if err == nil {
		defer open.Close()
		err = open.Add(o.options.Own, 0)
	}
	if err != nil {
		o.options.Log.Warn("nobody is told of packets that the kernel itself drops", "error", err)
		return
	}
	o.ears.mu.Lock()
	o.ears.open, o.ears.links = open, map[desired.EndpointKey]uint32{}
	o.ears.mu.Unlock()
	defer func() {
		o.ears.mu.Lock()
		defer o.ears.mu.Unlock()
		o.ears.open = nil
	}()
	for _, e := range o.options.Snapshot().Endpoints.All() {
		o.Listen(e)
	}
	err = open.Follow(ctx, func(d dropreason.Drop) error {
		l := local.Drop{Place: "kernel", Why: d.Reason, Function: d.Function, Proto: d.Proto, Length: d.Length}
		if d.Link != 0 {
			l.Link = o.linkName(d.Link)
		}
		l.From, l.To = netip.AddrPortFrom(d.Src, d.SrcPort), netip.AddrPortFrom(d.Dst, d.DstPort)
		o.followers.tell(l)
		return nil
	})
	if err != nil {
		o.options.Log.Warn("nobody is told of packets that the kernel itself drops any more", "error", err)
	}
}

// Listen listens to the namespace of e, too, if anybody follows. An endpoint whose namespace or link is gone drops nothing.
func (o *Observer) Listen(e desired.Endpoint) {
	o.ears.mu.Lock()
	defer o.ears.mu.Unlock()
	if o.ears.open == nil {
		return
	}
	ns, err := netns.Open(e.NetNS)
	if err != nil {
		return
	}
	defer ns.Close()
	id, err := ns.ID()
	if err != nil || id == o.options.Own {
		return
	}
	index, err := o.linkIndex(desired.LinkName(e.Key))
	if err != nil {
		return
	}
	if err := o.ears.open.Add(id, uint32(index)); err != nil {
		o.options.Log.Warn("nobody is told of packets that the kernel drops in an endpoint", "endpoint", e.Key.String(), "error", err)
		return
	}
	o.ears.links[e.Key] = uint32(index)
}

// Forget forgets the namespace of an endpoint that goes.
func (o *Observer) Forget(k desired.EndpointKey) {
	o.ears.mu.Lock()
	defer o.ears.mu.Unlock()
	index, heard := o.ears.links[k]
	if o.ears.open == nil || !heard {
		return
	}
	delete(o.ears.links, k)
	if err := o.ears.open.Remove(index); err != nil {
		o.options.Log.Warn("drops of an endpoint that is gone may be told", "endpoint", k.String(), "error", err)
	}
}
