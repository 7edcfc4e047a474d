package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
)

// AddHost gives a new host the next number of its rack and writes it into the folder as host-NAME.yaml. spec.Cluster may be
// left out where the plan has one; spec.Number is filled in. now decides which rested numbers are back. The folder must be
// right before and is right after; two writers never take one number.
func AddHost(dir, name string, spec v1alpha1.HostSpec, now time.Time) (o *v1alpha1.Host, err error) {
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	f, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	s, err := f.set()
	if err != nil {
		return nil, err
	}
	if h, taken := s.Objects.Host(name); taken {
		return nil, fmt.Errorf("host %s is already in %s: give the new one another name, a retired host keeps its record", name, h.Source.File)
	}
	c, r, err := s.Model.Plan.Place(addressplan.Host{Name: name, Cluster: onlyCluster(s, spec.Cluster), Rack: string(spec.Rack)})
	if err != nil {
		return nil, err
	}
	n, err := s.Model.Plan.NextHost(c, r, addressplan.Seconds(ipam.FromUnix(now.Unix())))
	if err != nil {
		return nil, err
	}
	number := uint32(n)
	if uint64(number) != n {
		return nil, fmt.Errorf("host %s would be number %d: a Host holds 32 bits of it", name, n)
	}
	spec.Cluster, spec.Rack, spec.Number = v1alpha1.Ref(c.Name), v1alpha1.Ref(r.Name), &number
	o = v1alpha1.NewHost(name, spec)
	text, err := v1alpha1.Encode(o)
	if err != nil {
		return nil, err
	}
	if problems := v1alpha1.Validate(o).Errors(); len(problems) > 0 {
		return nil, problems
	}
	file := "host-" + name + ".yaml"
	if slices.ContainsFunc(f.files, func(t fileText) bool { return t.name == file }) {
		return nil, fmt.Errorf("file %s is there and holds something else than host %s: rename it", filepath.Join(dir, file), name)
	}
	return o, f.write(fileText{file, text})
}

// onlyCluster fills in the cluster where there is no choice.
func onlyCluster(s Set, ref v1alpha1.Ref) string {
	if ref == "" && len(s.Model.Plan.Clusters) == 1 {
		return s.Model.Plan.Clusters[0].Name
	}
	return string(ref)
}

// RetireHost writes into the document of a host that it is gone since now. The record stays, so that the prefix rests; the
// rest of the file stays as it was written.
func RetireHost(dir, name string, now time.Time) (err error) {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	f, err := readFolder(dir)
	if err != nil {
		return err
	}
	s, err := f.set()
	if err != nil {
		return err
	}
	h, ok := s.Objects.Host(name)
	switch {
	case !ok:
		return fmt.Errorf("host %s is not in %s", name, dir)
	case !h.Living():
		return fmt.Errorf("host %s was retired at %s already", name, h.RetiredAt().Format(time.RFC3339))
	}
	for _, t := range f.files {
		if filepath.Join(dir, t.name) != h.Source.File {
			continue
		}
		stamp, err := v1alpha1.TimeFrom(now).MarshalText()
		if err != nil {
			return fmt.Errorf("retire host %s: %w", name, err)
		}
		text, err := insertIntoSpec(t.data, name, "retired: "+string(stamp))
		if err != nil {
			return fmt.Errorf("retire host %s in %s: %w", name, h.Source.File, err)
		}
		return f.write(fileText{t.name, text})
	}
	return fmt.Errorf("host %s: its file %s is gone", name, h.Source.File)
}

// write puts one file into the folder, if the folder is right with it.
func (f folder) write(t fileText) error {
	next := folder{f.dir, slices.DeleteFunc(slices.Clone(f.files), func(o fileText) bool { return o.name == t.name })}
	next.files = append(next.files, t)
	if _, err := next.set(); err != nil {
		return fmt.Errorf("write %s: the folder would be wrong: %w", t.name, err)
	}
	path := filepath.Join(f.dir, t.name)
	mode := os.FileMode(0o644)
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("write %s: it is a link; change the file it points to", path)
		}
		mode = info.Mode().Perm()
	}
	return replace(path, t.data, mode)
}

// insertIntoSpec adds a line at the head of the spec of a Host document, in the indentation of its fields.
func insertIntoSpec(data []byte, name, line string) ([]byte, error) {
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	for {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return nil, errors.New("the document is not there")
		} else if err != nil {
			return nil, err
		}
		if len(doc.Content) == 0 || scalarAt(&doc, "kind") != v1alpha1.KindHost || scalarAt(&doc, "metadata", "name") != name {
			continue
		}
		spec := nodeAt(&doc, "spec")
		if spec == nil || spec.Kind != yaml.MappingNode || spec.Style&yaml.FlowStyle != 0 || len(spec.Content) == 0 {
			return nil, fmt.Errorf("spec is not written as lines: add %q by hand", line)
		}
		first := spec.Content[0]
		lines := strings.SplitAfter(string(data), "\n")
		lines = slices.Insert(lines, first.Line-1, strings.Repeat(" ", first.Column-1)+line+"\n")
		return []byte(strings.Join(lines, "")), nil
	}
}

func nodeAt(doc *yaml.Node, path ...string) *yaml.Node {
	n := doc.Content[0]
	for _, key := range path {
		i := slices.IndexFunc(n.Content, func(k *yaml.Node) bool { return k.Value == key })
		if n.Kind != yaml.MappingNode || i < 0 || i+1 >= len(n.Content) {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

func scalarAt(doc *yaml.Node, path ...string) string {
	if n := nodeAt(doc, path...); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}
