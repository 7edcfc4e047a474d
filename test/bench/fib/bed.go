package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/model/desired"
)

// bed holds what has to be taken down.
type bed struct {
	o      options
	folder string
	undo   []func() error
}

// close takes everything down, newest first.
func (b *bed) close() error {
	var failed []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		failed = append(failed, b.undo[i]())
	}
	b.undo = nil
	return errors.Join(failed...)
}

// place makes a namespace with lo up.
func (b *bed) place() (*netns.NS, error) {
	ns, err := netns.Anonymous()
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, ns.Close)
	return ns, inside(ns, "ip link set lo up")
}

// uplink is a namespace with a link up0, and the one at the other end with up1.
func (b *bed) uplink() (ns, far *netns.NS, err error) {
	if ns, err = b.place(); err != nil {
		return nil, nil, err
	}
	if far, err = b.place(); err != nil {
		return nil, nil, err
	}
	return ns, far, inside(ns,
		"sysctl -qw net.ipv6.conf.default.accept_dad=0",
		"ip link add up0 type veth peer name up1 netns "+far.Path(),
		"ip link set up0 up",
		"nsenter --net="+far.Path()+" ip link set up1 up")
}

// inside runs programs in ns.
func inside(ns *netns.NS, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		var out []byte
		err := ns.Do(func() (err error) {
			out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}

// daemon starts a program in ns that ends with the bed.
func (b *bed) daemon(ctx context.Context, ns *netns.NS, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var words strings.Builder
	cmd.Stderr = &words
	if err := ns.Do(cmd.Start); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	b.undo = append(b.undo, func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended too early: %w: %s", name, err, words.String())
		default:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		return nil
	})
	return nil
}

// nth is a /64 of its own for each i below 2^24.
func nth(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x3f, 0xff, 0, 0, 1, byte(i >> 16), byte(i >> 8), byte(i)}), 64)
}

// table is n destinations by the same next hops.
func table(n int, hops ...desired.NextHop) map[netip.Prefix][]desired.NextHop {
	want := make(map[netip.Prefix][]desired.NextHop, n)
	for i := range n {
		want[nth(i)] = hops
	}
	return want
}

var hop = desired.NextHop{Via: netip.MustParseAddr("fe80::a"), Link: "up0"}
