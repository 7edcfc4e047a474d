// Package lab is a fabric of network namespaces on one machine: racks of hosts behind routers, with real agents, for tests, demonstrations and people.
//
// Up makes it, Open finds a running one, Down takes it away and leaves nothing, whatever state it finds. The machine's own
// network namespace and mount table are not touched: everything lives in namespaces held by processes of the lab (package
// place), and every such process lives in one cgroup, so ending that cgroup ends the lab.
package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"hexapod.dev/lab/place"
	"hexapod.dev/lab/topology"
	"hexapod.dev/linux/flock"
)

// Dir is where the labs of a machine keep their state, one folder each.
const Dir = "/run/hexapod-lab"

// DefaultName is the name of a lab that was given none.
const DefaultName = "lab"

// Endpoint is one endpoint of a lab.
type Endpoint struct {
	Name      string            `json:"name"`
	Host      string            `json:"host"`
	Container string            `json:"container"` // id given to the plugin
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
	Fixed     netip.Addr        `json:"fixed,omitzero"` // asked for; invalid: whichever the host gives
	Addr      netip.Addr        `json:"addr,omitzero"`  // the plugin's answer
}

// netns is where the endpoint's network namespace is bound, in the mounts of its host.
func (e Endpoint) netns() string { return filepath.Join("/run/netns", e.Name) }

// state is what a lab remembers between commands.
type state struct {
	Size      topology.Size       `json:"size"`
	Router    RouterKind          `json:"router"`
	Bin       string              `json:"bin"` // folder of the programs under test
	Hosts     []topology.Host     `json:"hosts"`
	Endpoints map[string]Endpoint `json:"endpoints"`
	Serial    int                 `json:"serial"` // of the last container id
	Open      bool                `json:"open"`   // the outside reaches every endpoint
	BFD       bool                `json:"bfd,omitempty"`
	Published []published         `json:"published,omitempty"`
	Internet  bool                `json:"internet,omitempty"` // there is an IPv4 Internet, and hosts translate
	Provider  netip.Prefix        `json:"provider,omitzero"`  // there is one behind a NAT64 of the outside with this prefix
	Told      map[string]pref64   `json:"told,omitempty"`     // what ToRs tell of a NAT64
	Up        bool                `json:"up"`                 // Up came to its end
}

// Lab is one lab of this machine.
type Lab struct {
	name   string
	dir    string
	tree   *place.Tree
	group  place.Group
	state  state
	report func(string)
	held   *flock.Lock // until Close; nil unless Options.Hold
}

var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// locate prepares a Lab without looking whether it exists.
func locate(name string) (*Lab, error) {
	if !goodName.MatchString(name) {
		return nil, fmt.Errorf("lab name %q: want at most 31 lower-case letters, digits and dashes", name)
	}
	tree, err := place.OpenTree()
	if err != nil {
		return nil, err
	}
	return &Lab{
		name: name, dir: filepath.Join(Dir, name), tree: tree,
		group: tree.Group("hexapod-lab-" + name), report: func(string) {},
	}, nil
}

// ErrNotUp tells that there is no such lab.
var ErrNotUp = errors.New("is not up; `hexapod lab up` makes it")

// Open finds a running lab. The caller closes it.
func Open(name string) (*Lab, error) {
	l, err := locate(name)
	if err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if !l.state.Up {
		return nil, errors.Join(fmt.Errorf("lab %s was not finished; `hexapod lab down --name %s` removes what there is of it", name, name), l.Close())
	}
	return l, nil
}

// Close gives up what the process holds of a lab. The lab stays as it is.
func (l *Lab) Close() error {
	err := l.tree.Close()
	if l.held != nil {
		err = errors.Join(err, l.held.Close())
		l.held = nil
	}
	return err
}

// Name returns the name of the lab.
func (l *Lab) Name() string { return l.name }

// Hosts lists the hosts in the order they were made.
func (l *Lab) Hosts() []topology.Host { return slices.Clone(l.state.Hosts) }

// Endpoints lists the endpoints by name.
func (l *Lab) Endpoints() []Endpoint {
	all := make([]Endpoint, 0, len(l.state.Endpoints))
	for _, name := range slices.SortedFunc(maps.Keys(l.state.Endpoints), compareNames) {
		all = append(all, l.state.Endpoints[name])
	}
	return all
}

// Endpoint returns one endpoint.
func (l *Lab) Endpoint(name string) (Endpoint, error) {
	e, ok := l.state.Endpoints[name]
	if !ok {
		return Endpoint{}, fmt.Errorf("lab %s has no endpoint %s", l.name, name)
	}
	return e, nil
}

// Machines lists routers, outside and hosts.
func (l *Lab) Machines() []string { return l.state.Size.Machines(l.state.Hosts) }

func (l *Lab) place(machine string) place.Place {
	return place.Place{Name: machine, Group: l.group.Sub(machine)}
}

// folder is a folder of a machine's own, by the name under which the lab keeps it.
func (l *Lab) folder(machine, name string) string {
	return filepath.Join(l.dir, "machines", machine, name)
}

func (l *Lab) stateFile() string { return filepath.Join(l.dir, "lab.json") }

func (l *Lab) load() error {
	text, err := os.ReadFile(l.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lab %s %w", l.name, ErrNotUp)
	}
	if err == nil {
		err = json.Unmarshal(text, &l.state)
	}
	if err != nil {
		return fmt.Errorf("read the state of lab %s: %w", l.name, err)
	}
	return nil
}

// save replaces the state file in one step, so that a crash leaves the old or the new one.
func (l *Lab) save() error {
	text, err := json.MarshalIndent(l.state, "", "  ")
	if err == nil {
		err = os.WriteFile(l.stateFile()+".new", text, 0o644)
	}
	if err == nil {
		err = os.Rename(l.stateFile()+".new", l.stateFile())
	}
	if err != nil {
		return fmt.Errorf("write the state of lab %s: %w", l.name, err)
	}
	return nil
}

// find tells where a name of the lab (a machine or an endpoint) is: its place, and the path of the network namespace in it if
// it is not that of the place.
func (l *Lab) find(name string) (place.Place, string, error) {
	if e, ok := l.state.Endpoints[name]; ok {
		return l.place(e.Host), e.netns(), nil
	}
	if slices.Contains(l.Machines(), name) || name == topology.Internet && l.state.Internet {
		return l.place(name), "", nil
	}
	return place.Place{}, "", fmt.Errorf("lab %s has no machine or endpoint %q; it has %v and endpoints such as r1h1-e1", l.name, name, l.Machines())
}

// compareNames sorts r1h2-e10 after r1h2-e9: shorter numbers first.
func compareNames(a, b string) int {
	return slices.Compare(nameKey(a), nameKey(b))
}

// nameKey makes a sort key of a name: its letters and its numbers in turn.
func nameKey(s string) []int {
	var key []int
	number := -1
	for _, r := range s {
		if r >= '0' && r <= '9' {
			number = max(number, 0)*10 + int(r-'0')
			continue
		}
		if number >= 0 {
			key, number = append(key, number), -1
		}
		key = append(key, int(r)<<16)
	}
	if number >= 0 {
		key = append(key, number)
	}
	return key
}
