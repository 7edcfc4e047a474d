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

// incomplete is the links whose host side has no address yet, by index.
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

// Complete gives the host sides of links their own address where Begin left that for later. A link that is gone is no error; one that
// the kernel refuses is tried again by the next Complete.
func (t *Table) Complete(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	all := t.incomplete.take()
	var errs []error
	for some := range slices.Chunk(slices.Sorted(maps.Keys(all)), completeBatch) {
		steps := make([]*rtnl.Request, len(some))
		for i, index := range some {
			steps[i] = addLinkLocal(index, all[index]).Fine(unix.ENODEV)
		}
		errs = append(errs, t.do(t.conn, steps...))
		for i, index := range some {
			if steps[i].Err() != nil {
				t.incomplete.add(index, all[index])
			}
		}
	}
	return errors.Join(errs...)
}

// completeBatch is how many links share one send: an ADD that comes meanwhile waits for no more.
const completeBatch = 4
