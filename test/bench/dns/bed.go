package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"hexapod.dev/linux/child"
)

// bed holds the servers and what has to be taken down.
type bed struct {
	bin, folder      string
	hexapod, unbound *system
	undo             []func() error
}

// close takes everything down, newest first.
func (b *bed) close() error {
	var failed []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		failed = append(failed, b.undo[i]())
	}
	return errors.Join(failed...)
}

func (b *bed) open() (err error) {
	if b.folder, err = os.MkdirTemp("", "hxbench"); err != nil {
		return err
	}
	b.undo = append(b.undo, func() error { return os.RemoveAll(b.folder) })
	if err := pin(); err != nil {
		return err
	}
	up, err := newUpstream()
	if err != nil {
		return err
	}
	b.undo = append(b.undo, up.Close)
	at := up.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := b.openUnbound(at); err != nil {
		return fmt.Errorf("unbound: %w", err)
	}
	if err := b.openHexapod(at); err != nil {
		return fmt.Errorf("hexapod: %w", err)
	}
	return nil
}

// cacheMiB is memory for answers, enough for all names of a run.
const cacheMiB = 256

// openHexapod starts the DNS server as an agent does: the same program without privileges, with its sockets given to it.
func (b *bed) openHexapod(upstream netip.AddrPort) error {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		return err
	}
	defer c.Close()
	at := c.LocalAddr().(*net.UDPAddr).AddrPort()
	spec := child.Spec{Name: "dns", RunDir: b.folder, User: 64053, Program: "/usr/bin/taskset", Args: []string{"-c", "0", filepath.Join(b.bin, "hexapod"), "child", "dns"}}
	begun := make(chan error, 1)
	keeper := &child.Keeper{Spec: spec, Log: slog.New(slog.DiscardHandler),
		Open: func([]child.Named) ([]child.Named, error) {
			f, err := c.File()
			return []child.Named{{Name: "udp-0", File: f}}, err
		},
		Begun: func(ctx context.Context) error {
			err := spec.Call(ctx, "configure", map[string]any{
				"Policy":     map[string]any{"Prefixes": []string{"64:ff9b::/96"}},
				"Zones":      []any{map[string]any{"Name": ".", "Upstreams": []any{map[string]any{"Addr": upstream.String(), "Via": "udp"}}}},
				"Allow":      []string{"::1/128"},
				"CacheBytes": cacheMiB << 20,
			}, nil)
			select {
			case begun <- err:
			default:
			}
			return err
		}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- keeper.Run(ctx) }()
	b.undo = append(b.undo, func() error {
		cancel()
		return errors.Join(<-done, spec.End())
	})
	select {
	case err = <-begun:
	case <-time.After(time.Minute):
		err = fmt.Errorf("does not come up: %+v", keeper.State())
	}
	b.hexapod = &system{name: "hexapod", pid: keeper.State().PID, at: at}
	return err
}

func (b *bed) openUnbound(upstream netip.AddrPort) error {
	free, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		return err
	}
	at := free.LocalAddr().(*net.UDPAddr).AddrPort()
	free.Close()
	conf := filepath.Join(b.folder, "unbound.conf")
	text := fmt.Sprintf(`server:
  interface: ::1@%[1]d
  port: %[1]d
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  directory: %[4]q
  num-threads: 1
  access-control: ::1 allow
  do-not-query-localhost: no
  qname-minimisation: no
  msg-cache-size: %[3]dm
  rrset-cache-size: %[3]dm
  module-config: "dns64 iterator"
  dns64-prefix: 64:ff9b::/96
  local-zone: "test." nodefault
forward-zone:
  name: "."
  forward-addr: ::1@%[2]d
`, at.Port(), upstream.Port(), cacheMiB/2, b.folder)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("/usr/bin/taskset", "-c", "0", "/usr/sbin/unbound", "-d", "-c", conf)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.undo = append(b.undo, func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return err
	})
	b.unbound = &system{name: "unbound", pid: cmd.Process.Pid, at: at}
	return b.unbound.await()
}
