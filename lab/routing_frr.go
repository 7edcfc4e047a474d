package lab

import (
	"bytes"
	"fmt"

	"hexapod.dev/lab/router"
	"hexapod.dev/model/addressplan/render"
)

// frrRouter is FRR. Its daemons and vtysh keep their files in /run/frr, which on a machine of a lab is that machine's own: the
// FRR of the machine you are on, if there is one, is not touched.
type frrRouter struct{}

func (frrRouter) file(c router.Config) (render.File, error) { return c.Write(render.FRR) }

func (frrRouter) processes(*Lab, string) []process {
	daemon := func(name, socket string) process {
		return process{[]string{"/usr/lib/frr/" + name, "-i", "/run/frr/" + name + ".pid", "-z", "/run/frr/zserv.api",
			"--vty_socket", "/run/frr", "-P", "0", "--log", "stdout", "--log-level", "errors"}, socket}
	}
	// The others look for zebra once in ten seconds.
	return []process{daemon("zebra", "zserv.api"), daemon("staticd", "staticd.vty"), daemon("bgpd", "bgpd.vty")}
}

// load gives each daemon its part of the one file: a daemon that reads it alone stumbles over the parts of the others.
func (d frrRouter) load(l *Lab, machine, file string) error { return d.reload(l, machine, file) }

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
