package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/xlat"
	"hexapod.dev/test/bench/work"
)

// Ways of a gateway between a client and a server.
const (
	plain = "plain" // the kernel forwards IPv6: what all are measured by
	fast  = "fast"  // our translator with its fast path
	slow  = "slow"  // our translator alone
	peer  = "tayga"
)

var (
	clientAddr  = netip.MustParseAddr("2001:db8:1::5")
	plainServer = netip.MustParseAddr("2001:db8:2::5")
	server4     = netip.MustParseAddr("8.8.4.4")
)

// device is the TUN device of a translator.
const device = "pref64"

// bed is a client, a gateway and a server: namespaces that veth pairs join.
type bed struct {
	way                     string
	client, gateway, server *netns.NS
	folder                  string
	others                  []int
	undo                    []func() error
}

func newBed(ctx context.Context, way string, cpu int) (b *bed, err error) {
	b = &bed{way: way}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", way, err), b.close())
		}
	}()
	if b.folder, err = os.MkdirTemp("", "hxbench"); err != nil {
		return nil, err
	}
	b.undo = append(b.undo, func() error { return os.RemoveAll(b.folder) })
	for _, ns := range []**netns.NS{&b.client, &b.gateway, &b.server} {
		if *ns, err = netns.Anonymous(); err != nil {
			return nil, err
		}
		b.undo = append(b.undo, (*ns).Close)
		// Connections that have ended leave no TIME_WAIT behind: after 28,000 of them a client would look for a free port more than it connects.
		if err := inside(*ns, "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1 net.ipv4.tcp_max_tw_buckets=0", "ip link set lo up"); err != nil {
			return nil, err
		}
	}
	if err := b.wire(); err != nil {
		return nil, err
	}
	switch way {
	case fast, slow:
		err = b.translator(ctx, cpu)
	case peer:
		err = b.tayga(ctx, cpu)
	}
	return b, err
}

// wire joins the three.
func (b *bed) wire() error {
	err := errors.Join(
		inside(b.client, "ip link add eth0 type veth peer name in0 netns "+b.gateway.Path(), "ip link set eth0 up", "ip -6 addr add 2001:db8:1::5/64 dev eth0 nodad",
			"ip -6 route add default via 2001:db8:1::1"),
		inside(b.server, "ip link add eth0 type veth peer name out0 netns "+b.gateway.Path(), "ip link set eth0 up"),
		inside(b.gateway, "ip link set in0 up", "ip link set out0 up", "ip -6 addr add 2001:db8:1::1/64 dev in0 nodad"),
	)
	if err != nil || b.way == plain {
		return errors.Join(err, inside(b.gateway, "ip -6 addr add 2001:db8:2::1/64 dev out0 nodad"),
			inside(b.server, "ip -6 addr add 2001:db8:2::5/64 dev eth0 nodad", "ip -6 route add default via 2001:db8:2::1"))
	}
	return errors.Join(inside(b.gateway, "ip addr add 8.8.4.1/24 dev out0"),
		inside(b.server, "ip addr add 8.8.4.4/24 dev eth0", "ip route add default via 8.8.4.1"))
}

// translator starts ours, in a process whose CPU time counts.
func (b *bed) translator(ctx context.Context, cpu int) error {
	err := b.process(ctx, []string{self(), translatorVerb, b.folder, strconv.FormatBool(b.way == fast), strconv.Itoa(cpu)}, "ready")
	if err != nil {
		return err
	}
	b.undo = append(b.undo, func() error {
		err := syscall.Unmount(filepath.Join(b.folder, "bpf"), syscall.MNT_DETACH)
		if errors.Is(err, syscall.EINVAL) { // none was mounted
			return nil
		}
		return err
	})
	return inside(b.gateway, "ip -6 route add 64:ff9b::/96 dev "+device, "ip route add 45.0.0.1/32 dev "+device)
}

// tayga starts Debian's.
func (b *bed) tayga(ctx context.Context, cpu int) error {
	file := filepath.Join(b.folder, "tayga.conf")
	text := "tun-device nat64\nipv4-addr 45.0.0.1\nipv6-addr 2001:db8:1::64\nprefix 64:ff9b::/96\ndynamic-pool 45.0.0.0/24\ndata-dir " + b.folder + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if err := inside(b.gateway, "tayga -c "+file+" --mktun", "ip link set nat64 up", "ip -6 route add 64:ff9b::/96 dev nat64", "ip route add 45.0.0.0/24 dev nat64"); err != nil {
		return err
	}
	return b.process(ctx, []string{"taskset", "-c", strconv.Itoa(cpu), "tayga", "-c", file, "-d"}, "")
}

// process starts a process of the gateway, and waits for a word of it.
func (b *bed) process(ctx context.Context, words []string, word string) error {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if b.way == peer {
		cmd.Stderr = nil // it tells all it does
	}
	if err := b.gateway.Do(cmd.Start); err != nil {
		return err
	}
	b.others = append(b.others, cmd.Process.Pid)
	b.undo = append(b.undo, func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return nil
	})
	if word != "" {
		if _, err := out.Read(make([]byte, len(word))); err != nil {
			return fmt.Errorf("the translator did not start: %w", err)
		}
	}
	return nil
}

// reaches waits until the server answers.
func (b *bed) reaches() error {
	to := b.system().To.String()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err = inside(b.client, "ping -6 -n -c 1 -W 1 "+to); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", b.way, err)
}

func (b *bed) system() work.System {
	s := work.System{Name: b.way, Client: b.client, Server: b.server, To: plainServer, At: plainServer, Others: b.others}
	if b.way != plain {
		s.To, s.At = xlat.WellKnown.Embed(server4), netip.AddrFrom16(server4.As16())
	}
	return s
}

// close takes everything down, newest first.
func (b *bed) close() error {
	var errs []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	b.undo = nil
	return errors.Join(errs...)
}

func inside(ns *netns.NS, lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		cmd := exec.Command(words[0], words[1:]...)
		var out []byte
		err := ns.Do(func() (err error) { out, err = cmd.CombinedOutput(); return err })
		if err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}

func self() string { return "/proc/self/exe" }

// openTUN opens the device of a translator in the namespace it runs in.
func openTUN() (*os.File, error) { return tun.OpenHeaded(nil, device) }
