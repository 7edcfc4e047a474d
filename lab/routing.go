package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"

	"hexapod.dev/lab/router"
	"hexapod.dev/model/addressplan/render"
)

// RouterKind says whose program runs on the routers of a lab: the ToRs, the spine, and the network outside.
type RouterKind string

// The kinds of routers.
const (
	HexapodRouter RouterKind = "hexapod"
	FRRRouter     RouterKind = "frr"
	BIRDRouter    RouterKind = "bird"
)

// process is one program of a router.
type process struct {
	words  []string
	socket string // in its folder; when it is there, the process listens
}

// RouterKinds lists the kinds, for help and errors.
func RouterKinds() []string {
	return []string{string(HexapodRouter), string(FRRRouter), string(BIRDRouter)}
}

// daemons is what a kind of router consists of. Everything it writes lies in folders of its machine alone.
type daemons interface {
	// file writes the router for the program; it lies in the machine's /etc/hexapod.
	file(router.Config) (render.File, error)
	// processes run on a machine, each in the foreground; one starts when the one before listens.
	processes(l *Lab, file string) []process
	// load makes fresh processes that were not told their file read it.
	load(l *Lab, machine, file string) error
	// reload makes running processes read the file again.
	reload(l *Lab, machine, file string) error
	// folder is where the processes keep their sockets, on their machine.
	folder() string
	// version asks the program who it is.
	version() []string
	// debian is the package that has it; empty: it is this program.
	debian() string
}

func (k RouterKind) daemons() (daemons, error) {
	switch k {
	case HexapodRouter, "":
		return hexapodRouter{}, nil
	case FRRRouter:
		return frrRouter{}, nil
	case BIRDRouter:
		return birdRouter{}, nil
	}
	return nil, fmt.Errorf("router %q: want one of %s", k, strings.Join(RouterKinds(), ", "))
}

// Check is nil when this machine has the programs of a kind.
func (k RouterKind) Check() error {
	d, err := k.daemons()
	if err != nil || d.debian() == "" {
		return err
	}
	for _, p := range d.processes(nil, "") {
		if _, err := exec.LookPath(p.words[0]); errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("router %s: %s is missing: apt-get install %s, or use --router %s", k, p.words[0], d.debian(), HexapodRouter)
		} else if err != nil {
			return fmt.Errorf("router %s: %w", k, err)
		}
	}
	return nil
}

// Version is what the program of a kind calls itself.
func (k RouterKind) Version() (string, error) {
	d, err := k.daemons()
	if err != nil || d.debian() == "" {
		return "Hexapod's own BGP", err
	}
	ask := d.version()
	out, err := exec.Command(ask[0], ask[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("router %s: ask for its version: %w", k, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	words := strings.Fields(string(line))
	at := slices.IndexFunc(words, func(w string) bool { return strings.ContainsAny(w, "0123456789") })
	if at < 0 {
		return string(k), nil
	}
	return strings.ToUpper(string(k)) + " " + words[at], nil
}

// DemoRouter is the kind that a demonstration uses: FRR where it is installed, as fabrics have it, else our own.
func DemoRouter() RouterKind {
	if FRRRouter.Check() == nil {
		return FRRRouter
	}
	return HexapodRouter
}
