package lab

import (
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"hexapod.dev/lab/probe"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/xlat"
)

// Streams are the standard streams of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exec runs a command on a machine or in an endpoint and waits for it. The programs of the lab come first on its path.
func (l *Lab) Exec(name string, args []string, s Streams) error {
	p, netns, err := l.find(name)
	if err != nil {
		return err
	}
	path := args[0]
	if !strings.Contains(path, "/") {
		if path, err = l.lookPath(path); err != nil {
			return err
		}
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = "/"
	cmd.Env = l.environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	cmd.SysProcAttr = &syscall.SysProcAttr{} // no session of its own: a shell keeps its terminal
	return p.Run(cmd, "", netns)
}

// lookPath prefers the programs under test to those of the machine.
func (l *Lab) lookPath(name string) (string, error) {
	if path, err := exec.LookPath(filepath.Join(l.state.Bin, name)); err == nil {
		return path, nil
	}
	return exec.LookPath(name)
}

// Inside is the way into the network namespace of a machine or an endpoint, for probes.
func (l *Lab) Inside(name string) (probe.Inside, error) {
	p, netns, err := l.find(name)
	if err != nil {
		return nil, err
	}
	return func(fn func() error) error { return p.DoIn(netns, fn) }, nil
}

// Addr is the address by which others reach a name of the lab; the zero address if it has none.
func (l *Lab) Addr(name string) netip.Addr {
	if e, ok := l.state.Endpoints[name]; ok {
		return e.Addr
	}
	if _, isHost := l.host(name); !isHost {
		configs, err := l.routerConfigs()
		if err != nil {
			return netip.Addr{}
		}
		return configs[name].Loopback // none where there is no such router
	}
	for _, h := range l.Plan().Hosts {
		if h.Name != name {
			continue
		}
		if prefix, err := l.Plan().PrefixOf(h); err == nil {
			if parts, err := addressplan.PartsOf(prefix); err == nil {
				return parts.Router
			}
		}
	}
	return netip.Addr{}
}

// NameOf names who in the lab has an address, or returns the address itself.
func (l *Lab) NameOf(a netip.Addr) string {
	for _, name := range l.Machines() {
		if l.Addr(name) == a {
			return name
		}
	}
	for _, e := range l.state.Endpoints {
		if e.Addr == a {
			return e.Name
		}
	}
	if !a.IsValid() {
		return "?"
	}
	if four, ok := xlat.WellKnown.Extract(a); ok {
		if name := l.nameOf4(four); name != "" {
			return name
		}
	}
	return a.String()
}
