package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"hexapod.dev/lab"
	"hexapod.dev/lab/probe"
	"hexapod.dev/model/xlat"
)

// internet shows how an endpoint without IPv4 reaches a server that has nothing else: by its name and by its address.
func internet(ctx context.Context, o Options, l *lab.Lab) error {
	o.Report("adding an IPv4 Internet")
	if err := l.AddInternet(ctx); err != nil {
		return err
	}
	e, err := l.Endpoint(from)
	if err != nil {
		return err
	}
	in, err := l.Inside(from)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "\nA server that has IPv4 alone, %s (%s), fetched from %s, which has none:\n", lab.InternetName, lab.InternetAddr(), from)
	found, err := probe.Lookup(ctx, in, l.Addr(e.Host), lab.InternetName)
	if err != nil {
		return err
	}
	byName, byAddr := lab.InternetName, "64:ff9b::"+lab.InternetAddr().String()
	for _, by := range []struct {
		host string
		dst  netip.Addr
	}{{byName, found[0]}, {byAddr, xlat.WellKnown.Embed(lab.InternetAddr())}} {
		a, err := fetch(ctx, in, by.host, by.dst)
		if err != nil {
			return err
		}
		if want := l.PoolOf(e.Host); a.Client != want {
			return fmt.Errorf("%s saw %s when %s asked it, want the address %s of the pool", a.Name, a.Client, from, want)
		}
		fmt.Fprintf(o.Out, "  http://%s/  %s saw %s\n", net.JoinHostPort(by.host, strconv.Itoa(probe.Port)), a.Name, a.Client)
	}
	pinger, err := probe.NewPinger(in)
	if err != nil {
		return err
	}
	defer pinger.Close()
	path, err := pinger.Trace(found[0], 2*time.Second)
	if err != nil {
		return fmt.Errorf("trace the path from %s to %s: %w", from, lab.InternetName, err)
	}
	fmt.Fprintf(o.Out, "  %s is %s (DNS64 of %s); the path: %s > %s (NAT64 on %s)\n", lab.InternetName, found[0], e.Host, hops(l, path), l.NameOf(found[0]), e.Host)
	return nil
}

// fetch asks until the host translates: it has just been told to.
func fetch(ctx context.Context, in probe.Inside, host string, dst netip.Addr) (a probe.Answer, err error) {
	for {
		once, cancel := context.WithTimeout(ctx, time.Second)
		a, err = probe.GetAs(once, in, net.JoinHostPort(host, strconv.Itoa(probe.Port)), netip.AddrPortFrom(dst, probe.Port))
		cancel()
		if err == nil || ctx.Err() != nil {
			return a, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
