package agent

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
)

// partBypass leaves the sockets of endpoints alone whose owner asks for that.
const partBypass = "bypass"

// bypass makes the service hooks leave the sockets of exactly those endpoints alone whose pods carry the annotation, or that lead their
// own traffic elsewhere: the proxy there has to see the address of the service. Their packets are led instead.
func (a *Agent) bypass(ctx context.Context) error {
	s := &a.services
	s.mu.Lock()
	hooks := s.hooks
	s.mu.Unlock()
	if hooks == nil {
		return nil
	}
	var all []desired.Endpoint
	for _, e := range a.sections.Snapshot().Endpoints.All() {
		all = append(all, e)
	}
	found, err := a.redirecting(ctx, all)
	errs := []error{err}
	var cookies []uint64
	for _, e := range all {
		if !found[e.Key] && !a.asksForPackets(ctx, e) {
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

// asksForPackets tells whether the pod of an endpoint carries the annotation, as far as that is known already.
func (a *Agent) asksForPackets(ctx context.Context, e desired.Endpoint) bool {
	if a.options.Cluster == nil {
		return false
	}
	known, cancel := context.WithCancel(ctx)
	cancel()
	pod, ok := a.options.Cluster.Pod(known, e.Namespace, e.Name, e.UID)
	return ok && pod.Packets
}

// bypassSoon asks for a look at who is to be left alone.
func (a *Agent) bypassSoon() { a.kick(partBypass) }

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
