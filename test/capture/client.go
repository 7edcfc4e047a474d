package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hexapod.dev/edge/dns"
	"hexapod.dev/linux/datagram"
	"hexapod.dev/linux/netns"
	"hexapod.dev/model/dns64"
	"hexapod.dev/model/xlat"
)

// program is one that runs in a namespace until it is stopped.
type program struct {
	cmd  *exec.Cmd
	said *bytes.Buffer
	out  io.ReadCloser
}

// start runs a program in a namespace and waits until it says that it is at work.
func start(ns *netns.NS, cmd *exec.Cmd, ready string) (*program, error) {
	p := &program{cmd: cmd, said: new(bytes.Buffer)}
	var err error
	if p.out, err = cmd.StderrPipe(); err != nil {
		return nil, err
	}
	if err := ns.Do(cmd.Start); err != nil {
		return nil, err
	}
	for b := make([]byte, 4096); !strings.Contains(p.said.String(), ready); {
		n, err := p.out.Read(b)
		p.said.Write(b[:n])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s ended: %s", cmd.Path, p.said), cmd.Wait())
		}
	}
	return p, nil
}

// stop ends it and waits.
func (p *program) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if _, err := io.Copy(p.said, p.out); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// atWork is what the resolver says when it answers.
const atWork = "the resolver answers"

func startResolver(ctx context.Context, ns *netns.NS) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ns, exec.CommandContext(ctx, self, "-resolver"), atWork)
}

// resolve is the DNS64 of the client: it answers on the loopback and asks the name server of the Internet through the NAT64.
func resolve(ctx context.Context) error {
	p, err := xlat.NewPref64(netip.MustParsePrefix(pref64))
	if err != nil {
		return err
	}
	loopback := netip.IPv6Loopback()
	s, err := dns.New(dns.Config{
		Policy: dns64.Policy{Prefixes: []dns64.Pref64{{Pref64: p, For: []netip.Prefix{netip.MustParsePrefix(outside)}}}},
		Zones:  []dns.Zone{{Name: ".", Upstreams: []dns.Upstream{{Addr: netip.AddrPortFrom(mapped(nameServer), 53), Via: dns.UDP}}}},
		Allow:  []netip.Prefix{netip.PrefixFrom(loopback, 128)},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	here := netip.AddrPortFrom(loopback, 53)
	udp, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(here))
	if err != nil {
		return err
	}
	tcp, err := net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(here))
	if err != nil {
		return err
	}
	d, err := datagram.New(udp)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, atWork)
	return s.Serve(ctx, []dns.Datagrams{d}, []*net.TCPListener{tcp})
}

// tap is tcpdump at the device of the gateway, on the way in to be translated.
type tap struct{ *program }

func startTap(ctx context.Context, ns *netns.NS, file string) (tap, error) {
	p, err := start(ns, exec.CommandContext(ctx, "tcpdump", "-n", "-i", "pref64", "-Q", "out", "-B", "32768", "-s", "2000", "-Z", "root", "--immediate-mode", "-w", file, "not ip6 multicast"), "listening on")
	return tap{p}, err
}

// stop ends the capture, which must be whole.
func (t tap) stop() error {
	err := t.program.stop()
	if !strings.Contains(t.said.String(), "\n0 packets dropped by kernel") {
		err = errors.Join(err, fmt.Errorf("tcpdump missed packets: %s", t.said))
	}
	return err
}

// fetch has curl get every object and looks that each came whole: those of HTTP/1.1 by four connections at a time, which it keeps, the others
// one after the other, for Debian 12's curl (7.88) cannot use a connection of HTTP/2 again.
func fetch(ctx context.Context, ns *netns.NS, dir string) error {
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver ::1\n"), 0o644); err != nil {
		return err
	}
	url := func(i int) string { return fmt.Sprintf("http://%s/%d -o %s/%d", name(i*hosts/objects), i, dir, i) }
	var lines, first []string
	for i := range objects {
		if i < plain {
			first = append(first, url(i))
			continue
		}
		lines = append(lines, "--http2-prior-knowledge "+url(i))
	}
	lines = append([]string{"--parallel --parallel-max 4 --http1.1 " + strings.Join(first, " ")}, lines...)
	shell := "set -e; mount --bind " + conf + " /etc/resolv.conf\n"
	for _, line := range lines {
		shell += "curl -sS --fail --max-time 60 -w '%{http_version}\\n' " + line + "\n"
	}
	var out []byte
	if err := ns.Do(func() (err error) {
		out, err = exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", shell).CombinedOutput()
		return err
	}); err != nil {
		return fmt.Errorf("curl: %w: %s", err, out)
	}
	if one, two := strings.Count(string(out), "1.1\n"), strings.Count(string(out), "2\n"); one != plain || two != objects-plain {
		return fmt.Errorf("curl fetched %d objects by HTTP/1.1 and %d by HTTP/2: %s", one, two, out)
	}
	for i := range objects {
		if got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i))); err != nil || !bytes.Equal(got, object(i)) {
			return errors.Join(fmt.Errorf("object %d is not what was served", i), err)
		}
	}
	return nil
}
