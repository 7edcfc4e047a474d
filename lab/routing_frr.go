package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"hexapod.dev/lab/router"
	"hexapod.dev/model/addressplan/render"
)

// frrDaemons in the order of their start.
var frrDaemons = []string{"zebra", "staticd", "bgpd"}

// frrPatience bounds the start of FRR; it needs some tenths of a second.
const frrPatience = 15 * time.Second

// frrRouter is FRR. Its daemons and vtysh keep their files in /run/frr, which on a machine of a lab is that machine's own: the
// FRR of the machine you are on, if there is one, is not touched.
type frrRouter struct{}

func (frrRouter) file(c router.Config) (render.File, error) { return c.Write(render.FRR) }

func (frrRouter) commands(*Lab, string) [][]string {
	var all [][]string
	for _, name := range frrDaemons {
		all = append(all, []string{"/usr/lib/frr/" + name, "-i", "/run/frr/" + name + ".pid", "-z", "/run/frr/zserv.api",
			"--vty_socket", "/run/frr", "-P", "0", "--log", "stdout", "--log-level", "errors"})
	}
	return all
}

// load gives each daemon its part of the one file, as soon as all of them listen: a daemon that reads it alone stumbles over the
// parts of the others.
func (f frrRouter) load(ctx context.Context, l *Lab, machine, file string) error {
	ctx, cancel := context.WithTimeout(ctx, frrPatience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for _, name := range frrDaemons {
		for {
			if _, err := os.Stat(l.folder(machine, "run/frr/"+name+".vty")); err == nil {
				break
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return fmt.Errorf("router %s: %s does not listen after %v; its log is %s", machine, name, frrPatience, l.folder(machine, "router.log"))
			}
		}
	}
	return f.reload(l, machine, file)
}

// reload adds what is new: FRR has no word for "this file and nothing else", and a lab only grows.
func (frrRouter) reload(l *Lab, machine, file string) error {
	var said bytes.Buffer
	if err := l.Exec(machine, []string{"vtysh", "--vty_socket", "/run/frr", "-f", file}, Streams{Out: &said, Err: &said}); err != nil {
		return fmt.Errorf("router %s: read %s: %w: %s", machine, file, err, said.String())
	}
	return nil
}

func (frrRouter) folder() string    { return "/run/frr" }
func (frrRouter) version() []string { return []string{"/usr/lib/frr/bgpd", "--version"} }
func (frrRouter) debian() string    { return "frr" }
