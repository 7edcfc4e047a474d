package lab

import (
	"bytes"
	"fmt"
	"strings"

	"hexapod.dev/lab/router"
	"hexapod.dev/model/addressplan/render"
)

// birdRouter is BIRD 2.
type birdRouter struct{}

// file has the log on the standard error: the log of the machine you are on is not the lab's.
func (birdRouter) file(c router.Config) (render.File, error) {
	f, err := c.Write(render.BIRD)
	f.Text = strings.Replace(f.Text, "log syslog all;", "log stderr all;", 1)
	return f, err
}

func (birdRouter) processes(_ *Lab, file string) []process {
	return []process{{[]string{"/usr/sbin/bird", "-f", "-c", file, "-s", "/run/bird/bird.ctl", "-P", "/run/bird/bird.pid"}, "bird.ctl"}}
}

func (birdRouter) load(*Lab, string, string) error { return nil }

func (birdRouter) reload(l *Lab, machine, file string) error {
	var said bytes.Buffer
	err := l.Exec(machine, []string{"/usr/sbin/birdc", "-s", "/run/bird/bird.ctl", "configure", fmt.Sprintf("%q", file)}, Streams{Out: &said, Err: &said})
	if err != nil {
		return fmt.Errorf("router %s: read %s: %w: %s", machine, file, err, said.String())
	}
	return nil
}

func (birdRouter) folder() string    { return "/run/bird" }
func (birdRouter) version() []string { return []string{"/usr/sbin/bird", "--version"} }
func (birdRouter) debian() string    { return "bird2" }
