package file

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

// RetireHost writes into the document of a host that it is gone since now. The record stays, so that the prefix rests; the
// rest of the file stays as it was written.
func RetireHost(dir, name string, now time.Time) error {
	return change(dir, func(f folder, s Set) error {
		h, ok := s.Objects.Host(name)
		switch {
		case !ok:
			return fmt.Errorf("host %s is not in %s", name, dir)
		case !h.Living():
			return fmt.Errorf("host %s was retired at %s already", name, h.RetiredAt().Format(time.RFC3339))
		}
		return f.retire(h, now)
	})
}

// RetireIdentity writes into the document of an identity that its number is out of use since now: new endpoints do not get it. The
// entry stays, for a number is never given to a second set.
func RetireIdentity(dir string, n identity.Number, now time.Time) (o *v1alpha1.Identity, err error) {
	err = change(dir, func(f folder, s Set) error {
		o = object(s, n)
		switch {
		case o == nil:
			return fmt.Errorf("identity %s is not in %s", n, dir)
		case o.Spec.Retired != nil:
			return fmt.Errorf("identity %s was retired at %s already", n, o.Spec.Retired.Format(time.RFC3339))
		}
		at := v1alpha1.TimeFrom(now)
		o.Spec.Retired = &at
		return f.retire(o, now)
	})
	return o, err
}

// retire writes spec.retired into the document of o.
func (f folder) retire(o v1alpha1.Object, now time.Time) error {
	kind, name, path := o.Head().Kind, o.ObjectName(), o.Head().Source.File
	at := slices.IndexFunc(f.files, func(t fileText) bool { return filepath.Join(f.dir, t.name) == path })
	if at < 0 {
		return fmt.Errorf("retire %s %s: its file %s is gone", kind, name, path)
	}
	stamp, err := v1alpha1.TimeFrom(now).MarshalText()
	if err != nil {
		return fmt.Errorf("retire %s %s: %w", kind, name, err)
	}
	text, err := insertIntoSpec(f.files[at].data, kind, name, "retired: "+string(stamp))
	if err != nil {
		return fmt.Errorf("retire %s %s in %s: %w", kind, name, path, err)
	}
	return f.write(fileText{f.files[at].name, text})
}

// insertIntoSpec adds a line at the head of the spec of one document, in the indentation of its fields.
func insertIntoSpec(data []byte, kind, name, line string) ([]byte, error) {
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	for {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return nil, errors.New("the document is not there")
		} else if err != nil {
			return nil, err
		}
		if len(doc.Content) == 0 || scalarAt(&doc, "kind") != kind || scalarAt(&doc, "metadata", "name") != name {
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
