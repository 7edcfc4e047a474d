package link

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/rtnl"
)

// incomplete is the links whose host side is not yet as it is to be, by index: what their endpoints do without comes, or goes, later.
//
// An endpoint knows its gateway by a permanent neighbour; the address answers those who lost that, a guest behind a bridge, say, or
// ping. All links have the same one, and the kernel walks all that have it several times when it is given to one more
// (ipv6_get_ifaddr, fib6_add_rt2node): beside 1,000 links that takes a tenth of an ADD, which need not wait for it.
type incomplete struct {
	mu    sync.Mutex
	names map[int]string
}

func (i *incomplete) add(index int, name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.names == nil {
		i.names = map[int]string{}
	}
	i.names[index] = name
}

func (i *incomplete) has(index int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, ok := i.names[index]
	return ok
}

func (i *incomplete) take() map[int]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.names
	i.names = nil
	return all
}

// GatewayAnswered tells the table that somebody else answers for the gateway of endpoints, fe80::1: the programs at their links. Host sides
// are kept without the address from now on, and without the route to multicast groups that the kernel gives each link, for nobody asks
// there any more. The kernel walks all routes of the host whenever one more link comes up (rt6_sync_up), under the lock that an
// ADD waits for: one for each endpoint instead of three. What earlier ones left is for Complete.
func (t *Table) GatewayAnswered(ctx context.Context) error {
	links, err := t.marked(ctx)
	if err != nil {
		return err
	}
	t.bare = true
	for name, l := range links {
		t.incomplete.add(l.Index, name)
	}
	return nil
}

// Complete gives the host sides of links their own address where Begin left that for later, or takes what they do without
// (GatewayAnswered). A link that is gone is no error; one that the kernel refuses is tried again by the next Complete.
func (t *Table) Complete(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	all := t.incomplete.take()
	var errs []error
	for some := range slices.Chunk(slices.Sorted(maps.Keys(all)), completeBatch) {
		var steps []*rtnl.Request
		for _, index := range some {
			steps = append(steps, t.completion(index, all[index])...)
		}
		errs = append(errs, t.do(t.conn, steps...))
		each := len(steps) / len(some)
		for i, r := range steps {
			if r.Err() != nil {
				t.incomplete.add(some[i/each], all[some[i/each]])
			}
		}
	}
	return errors.Join(errs...)
}

// completion is what a link lacks, or has too much: as many steps for each.
func (t *Table) completion(index int, name string) []*rtnl.Request {
	if t.bare {
		return []*rtnl.Request{
			rtnl.DeleteAddr(rtnl.Addr{Index: index, Prefix: linkLocal()}, name),
			rtnl.DeleteGroups(index, name),
		}
	}
	return []*rtnl.Request{addLinkLocal(index, name).Fine(unix.ENODEV)}
}

// completeBatch is how many links share one send: an ADD that comes meanwhile waits for no more.
const completeBatch = 4
