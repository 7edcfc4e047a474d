// Package install puts the CNI plugin and its network configuration where a container runtime looks for them, and takes them away.
//
// Every file is the old one or the new one at any moment: a runtime may read or execute it meanwhile.
package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hexapod.dev/edge/cni/wire"
	"hexapod.dev/edge/file/whole"
)

// Files of ours in the folders of a runtime.
const (
	Plugin   = "hexapod-cni"
	Conflist = "05-hexapod.conflist" // a runtime takes the first by name
)

// Portmap is the plugin that serves host ports of pods. It is chained where it is installed.
const Portmap = "portmap"

// network is the name of the network in the conflist.
const network = "hexapod"

// Options say what goes where.
type Options struct {
	BinDir   string   // of the runtime's plugins
	ConfDir  string   // of the runtime's network configurations
	Plugin   string   // the program to install
	RunDir   string   // of the agent; empty: the default
	StateDir string   // of the agent; empty: the default
	Chain    []string // plugins behind ours, each in BinDir; nil: Portmap if it is there
}

// Put installs both, the program first, and returns in words what it did. What is as it should be is not touched.
func Put(o Options) (did []string, err error) {
	chain, err := o.chain()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(o.Plugin)
	if err != nil {
		return nil, fmt.Errorf("install the CNI plugin: %w", err)
	}
	text, err := conflist(o, chain)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		path string
		data []byte
		mode fs.FileMode
	}{{filepath.Join(o.BinDir, Plugin), program, 0o755}, {filepath.Join(o.ConfDir, Conflist), text, 0o644}} {
		changed, err := put(f.path, f.data, f.mode)
		if err != nil {
			return did, err
		}
		if changed {
			did = append(did, "wrote "+f.path)
		}
	}
	return append(did, o.others()...), nil
}

// Remove takes both away, the configuration first, and returns in words what it did. What is missing is no error.
func Remove(o Options) (did []string, err error) {
	var errs []error
	for _, path := range []string{filepath.Join(o.ConfDir, Conflist), filepath.Join(o.BinDir, Plugin)} {
		switch err := os.Remove(path); {
		case err == nil:
			did = append(did, "removed "+path)
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return did, errors.Join(errs...)
}

// refused are plugins that cannot stand behind ours, and why.
func refused() map[string]string {
	return map[string]string{
		"bandwidth": "its ingress queue takes the place of the one that programs of Hexapod hang on; Hexapod serves the annotations " +
			"kubernetes.io/ingress-bandwidth and kubernetes.io/egress-bandwidth itself: take it out of the chain",
		"bridge": "it makes the interface that Hexapod makes: take it out of the chain",
		"ptp":    "it makes the interface that Hexapod makes: take it out of the chain",
		Plugin:   "it is the first of the chain already",
	}
}

// chain is the plugins behind ours.
func (o Options) chain() ([]string, error) {
	if o.Chain == nil {
		if _, err := os.Stat(filepath.Join(o.BinDir, Portmap)); err != nil {
			return nil, nil
		}
		return []string{Portmap}, nil
	}
	for _, name := range o.Chain {
		if why, bad := refused()[name]; bad {
			return nil, fmt.Errorf("plugin %s cannot be chained: %s", name, why)
		}
		if strings.ContainsRune(name, '/') {
			return nil, fmt.Errorf("plugin %q: write its name alone, without a path", name)
		}
		if _, err := os.Stat(filepath.Join(o.BinDir, name)); err != nil {
			return nil, fmt.Errorf("plugin %s is to be chained and is not in %s: install it there, or take it out of the chain", name, o.BinDir)
		}
	}
	return o.Chain, nil
}

// conflist writes the network configuration.
func conflist(o Options, chain []string) ([]byte, error) {
	ours := map[string]any{"type": Plugin}
	if o.RunDir != "" && o.RunDir != wire.DefaultRunDir {
		ours["runDir"] = o.RunDir
	}
	if o.StateDir != "" && o.StateDir != wire.DefaultStateDir {
		ours["stateDir"] = o.StateDir
	}
	plugins := []map[string]any{ours}
	for _, name := range chain {
		p := map[string]any{"type": name}
		if name == Portmap {
			p["capabilities"], p["snat"] = map[string]bool{"portMappings": true}, true
		}
		plugins = append(plugins, p)
	}
	text, err := json.MarshalIndent(map[string]any{"cniVersion": wire.Version110, "name": network, "plugins": plugins}, "", "  ")
	return append(text, '\n'), err
}

// others names network configurations that a runtime would take instead of ours.
func (o Options) others() (list []string) {
	entries, err := os.ReadDir(o.ConfDir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		known := slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(e.Name()))
		if known && e.Name() < Conflist {
			list = append(list, fmt.Sprintf("warning: %s stands before %s by its name, and the runtime takes that: remove it",
				filepath.Join(o.ConfDir, e.Name()), Conflist))
		}
	}
	return list
}

// put replaces a file by one with this content and mode, and reports whether it had to.
func put(path string, data []byte, mode fs.FileMode) (changed bool, err error) {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() == mode {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return true, whole.Write(path, data, mode) // a runtime looks at known endings alone, not at drafts
}
