package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"hexapod.dev/agent/local"
	"hexapod.dev/lab/router"
	"hexapod.dev/model/addressplan/render"
)

// hexapodRouter is this program itself.
type hexapodRouter struct{}

func (hexapodRouter) file(c router.Config) (render.File, error) {
	text, err := json.MarshalIndent(c, "", "  ")
	return render.File{Name: "router.json", Text: string(text) + "\n"}, err
}

func (d hexapodRouter) processes(l *Lab, file string) []process {
	return []process{{[]string{filepath.Join(l.state.Bin, "hexapod"), "lab", "router", "--run", d.folder(), file}, local.Socket}}
}

func (hexapodRouter) load(*Lab, string, string) error { return nil }

func (hexapodRouter) reload(l *Lab, machine, _ string) error {
	pids, err := l.place(machine).Group.Sub(groupRouter).PIDs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("router %s: tell it to read its file again: %w", machine, err)
		}
	}
	return nil
}

func (hexapodRouter) folder() string    { return "/run/hexapod" }
func (hexapodRouter) version() []string { return nil }
func (hexapodRouter) debian() string    { return "" }
