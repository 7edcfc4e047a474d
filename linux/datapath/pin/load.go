package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// Options are how a collection is loaded.
type Options struct {
	// Convert fills a new map from the one a neighbour layout has under the same name with another shape, by name.
	// Without an entry such a map starts empty.
	Convert map[string]func(from, into *ebpf.Map) error
	// LogLevel is what the verifier tells when it refuses a program.
	LogLevel ebpf.LogLevel
}

// Load loads the programs and maps of spec. Maps that spec wants pinned by name (LIBBPF_PIN_BY_NAME) are those that are pinned
// already, with what they hold and in the size they have; what is missing is made and pinned. The collection belongs to the
// caller; closing it unpins nothing.
func (f *Folder) Load(spec *ebpf.CollectionSpec, o Options) (_ *ebpf.Collection, err error) {
	kept := map[string]*ebpf.Map{}
	defer func() {
		for _, m := range kept {
			err = errors.Join(err, m.Close())
		}
	}()
	spec = spec.Copy()
	for name, s := range spec.Maps {
		if s.Pinning != ebpf.PinByName {
			continue
		}
		s.Pinning = ebpf.PinNone // from here on it is our business
		m, err := f.Map(s, o.Convert[name])
		if err != nil {
			return nil, err
		}
		kept[name] = m
		s.MaxEntries = m.MaxEntries()
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: kept, Programs: ebpf.ProgramOptions{LogLevel: o.LogLevel},
	})
	if err != nil {
		return nil, fmt.Errorf("load eBPF programs: %w", err)
	}
	return c, nil
}

// Map returns the pinned map of s, made if missing.
func (f *Folder) Map(s *ebpf.MapSpec, convert func(from, into *ebpf.Map) error) (*ebpf.Map, error) {
	m, err := f.pinned(s, f.layout)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	// A neighbour's map of the same shape is shared: both layouts go on with one and the same map.
	for _, layout := range []int{f.layout - 1, f.layout + 1} {
		m, err := f.pinned(s, layout)
		var other *OtherShapeError
		switch {
		case err == nil:
			return m, f.pin(s.Name, m)
		case errors.Is(err, fs.ErrNotExist):
		case errors.As(err, &other):
			return f.converted(s, layout, convert)
		default:
			return nil, err
		}
	}
	if m, err = ebpf.NewMap(unpinned(s)); err != nil {
		return nil, fmt.Errorf("make map %s: %w", s.Name, err)
	}
	return m, f.pin(s.Name, m)
}

// converted makes the map of s from one of another shape.
func (f *Folder) converted(s *ebpf.MapSpec, layout int, convert func(from, into *ebpf.Map) error) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(unpinned(s))
	if err != nil {
		return nil, fmt.Errorf("make map %s: %w", s.Name, err)
	}
	if convert != nil {
		from, err := ebpf.LoadPinnedMap(filepath.Join(f.layoutPath(layout), s.Name), nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("map %s of layout %d: %w", s.Name, layout, err), m.Close())
		}
		defer from.Close()
		if err := convert(from, m); err != nil {
			return nil, errors.Join(fmt.Errorf("take map %s over from layout %d: %w", s.Name, layout, err), m.Close())
		}
	}
	return m, f.pin(s.Name, m)
}

func unpinned(s *ebpf.MapSpec) *ebpf.MapSpec {
	s = s.Copy()
	s.Pinning = ebpf.PinNone
	return s
}

// pin pins m in this layout. A failure closes it.
func (f *Folder) pin(name string, m *ebpf.Map) error {
	clone, err := m.Clone() // Pin remembers the place and would refuse another one
	if err == nil {
		err = errors.Join(clone.Pin(f.File(name)), clone.Close())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("pin map %s: %w", name, err), m.Close())
	}
	return nil
}

// OtherShapeError says that a pinned map is not what this release makes under its name.
type OtherShapeError struct {
	Map, Path string
	Layout    int
	cause     error
}

func (e *OtherShapeError) Error() string {
	return fmt.Sprintf("pinned map %s (%s) has another shape than this release knows for layout %d; "+
		"hexapod agent --cleanup removes it, with endpoints living --force is needed: %v", e.Map, e.Path, e.Layout, e.cause)
}

func (e *OtherShapeError) Unwrap() error { return e.cause }

// pinned opens the map of s in a layout. One that differs in more than its size is OtherShapeError.
func (f *Folder) pinned(s *ebpf.MapSpec, layout int) (*ebpf.Map, error) {
	path := filepath.Join(f.layoutPath(layout), s.Name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return nil, fmt.Errorf("pinned map %s: %w", s.Name, err)
	}
	shape := s.Copy()
	shape.MaxEntries = m.MaxEntries()
	if err := shape.Compatible(m); err != nil {
		return nil, errors.Join(&OtherShapeError{Map: s.Name, Path: path, Layout: layout, cause: err}, m.Close())
	}
	return m, nil
}
