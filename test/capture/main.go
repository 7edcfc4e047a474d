// Command capture records what curl sends and receives through a NAT64, for the twin test of linux/nat64.
//
// It lays namespaces: a client with IPv6 alone and a DNS64 of its own, a gateway that translates, and an Internet with IPv4 alone, whose web
// server speaks HTTP/1.1 and HTTP/2 and whose name server tells of it. Names, contents and addresses are always the same; those
// of the Internet look like global ones, in namespaces that nothing leaves; ports, numbers and times are what the kernel makes of them. Kept is each packet as it comes to be translated.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"hexapod.dev/linux/nat64"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/xlat"
)

// The world of the capture. linux/nat64 reads what comes of it, and knows prefix, pool and secret.
const (
	client  = "2001:db8:1::5"
	gateway = "2001:db8:1::1"
	pref64  = "64:ff9b::/96" // RFC 6052 3.1: documentation addresses have no place in it, so the Internet has such as are global
	pool    = "198.51.100.1"
	outside = "45.66.0.0/24" // the gateway is .1, the name server .53, web servers from .80

	plain   = 160 // objects that are fetched by HTTP/1.1
	objects = 220 // of all; the others by HTTP/2, each by a connection of its own
)

// secret keys the choice of ports.
var secret = [16]byte{1, 2, 3}

func main() {
	out := flag.String("o", "linux/nat64/testdata/web.pcap.gz", "the capture")
	asResolver := flag.Bool("resolver", false, "be the DNS64 of the client (the program starts itself so)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { return record(ctx, *out) }
	if *asResolver {
		run = func() error { return resolve(ctx) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		os.Exit(1)
	}
}

// world are the namespaces.
type world struct{ client, gateway, internet *netns.NS }

// lay makes the namespaces and the links between them.
func lay() (w world, err error) {
	for _, ns := range []**netns.NS{&w.client, &w.gateway, &w.internet} {
		if *ns, err = netns.Anonymous(); err != nil {
			return w, err
		}
		if _, err := words(*ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1"); err != nil {
			return w, err
		}
	}
	for _, step := range []struct {
		ns   *netns.NS
		line string
	}{
		{w.gateway, "ip link add in0 type veth peer name eth0 netns " + w.client.Path()},
		{w.gateway, "ip link add out0 type veth peer name eth0 netns " + w.internet.Path()},
		{w.gateway, "ip -6 addr add " + gateway + "/64 dev in0 nodad"},
		{w.gateway, "ip addr add 45.66.0.1/24 dev out0"},
		{w.gateway, "ip link set in0 up"},
		{w.gateway, "ip link set out0 up"},
		{w.client, "ip link set lo up"},
		{w.client, "ip link set eth0 up"},
		{w.client, "ip -6 addr add " + client + "/64 dev eth0 nodad"},
		{w.client, "ip -6 route add default via " + gateway},
		{w.internet, "ip link set lo up"},
		{w.internet, "ip link set eth0 up"},
		{w.internet, "ip addr add 45.66.0.53/24 dev eth0"},
		{w.internet, "ip route add default via 45.66.0.1"},
	} {
		if out, err := words(step.ns, step.line); err != nil {
			return w, fmt.Errorf("%s: %w: %s", step.line, err, out)
		}
	}
	for i := range hosts {
		if out, err := words(w.internet, "ip addr add "+address(i).String()+"/24 dev eth0"); err != nil {
			return w, fmt.Errorf("%w: %s", err, out)
		}
	}
	return w, nil
}

// words runs a line in a namespace.
func words(ns *netns.NS, line string) (out []byte, err error) {
	list := strings.Fields(line)
	err = ns.Do(func() error { out, err = exec.Command(list[0], list[1:]...).CombinedOutput(); return err })
	return out, err
}

// record makes the capture.
func record(ctx context.Context, out string) error {
	dir, err := os.MkdirTemp("", "hexapod-capture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := lay()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := translate(ctx, w.gateway, dir); err != nil {
		return err
	}
	if err := serve(w.internet); err != nil {
		return err
	}
	resolver, err := startResolver(ctx, w.client)
	if err != nil {
		return err
	}
	defer resolver.stop()
	file := filepath.Join(dir, "web.pcap")
	tap, err := startTap(ctx, w.gateway, file)
	if err != nil {
		return err
	}
	if err := errors.Join(fetch(ctx, w.client, dir), tap.stop()); err != nil {
		return err
	}
	return pack(file, out)
}

// translate runs a translator that sees every packet.
func translate(ctx context.Context, ns *netns.NS, dir string) error {
	device, err := tun.Open(ns, "pref64")
	if err != nil {
		return err
	}
	for _, line := range []string{"ip -6 route add " + pref64 + " dev pref64", "ip route add " + pool + "/32 dev pref64"} {
		if out, err := words(ns, line); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	grants, err := os.OpenFile(filepath.Join(dir, "grants"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	t := nat64.New(nat64.Files{TUN: device, Grants: grants}, slog.New(slog.DiscardHandler))
	self := netip.MustParseAddr(pool)
	if err := t.Configure(nat64.Config{Prefixes: []netip.Prefix{netip.MustParsePrefix(pref64)}, Pool: []netip.Addr{self}, Gateway: "gw", Secret: secret,
		Blocks: 4, Bindings: 10_000, Self4: self, Self6: netip.MustParseAddr(gateway), MTU6: 1500}); err != nil {
		return err
	}
	go func() { _ = t.Run(ctx) }()
	return nil
}

// mapped is an address of the Internet as the client knows it.
func mapped(a netip.Addr) netip.Addr {
	p, err := xlat.NewPref64(netip.MustParsePrefix(pref64))
	if err != nil {
		return netip.Addr{}
	}
	return p.Embed(a)
}

// pack writes the capture small.
func pack(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(raw); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o644)
}
