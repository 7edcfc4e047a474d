package services

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
)

// Bypass makes the hooks leave the sockets of exactly those endpoints alone whose owners ask for that, or that lead their own traffic
// elsewhere: the proxy there has to see the address of the service. Their packets are led instead.
func (k *Keeper) Bypass(ctx context.Context) error {
	k.mu.Lock()
	hooks := k.hooks
	k.mu.Unlock()
	if hooks == nil {
		return nil
	}
	var all []desired.Endpoint
	for _, e := range k.options.Snapshot().Endpoints.All() {
		all = append(all, e)
	}
	found, err := k.redirecting(ctx, all)
	errs := []error{err}
	var cookies []uint64
	for _, e := range all {
		if !found[e.Key] && !k.options.Asks(e) {
			continue
		}
		cookie, err := cookieOf(e.NetNS)
		if errors.Is(err, fs.ErrNotExist) { // it ends
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		cookies = append(cookies, cookie)
	}
	return errors.Join(append(errs, hooks.Bypass(cookies))...)
}

// cookieOf returns the number by which programs of the kernel know a network namespace (SO_NETNS_COOKIE, Linux 5.14).
func cookieOf(path string) (cookie uint64, err error) {
	ns, err := netns.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	err = ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	return cookie, err
}
