package v1alpha1

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder fills one object from the nodes of one document. It goes on after a problem, so that one run shows all of them.
type decoder struct {
	source     Source
	kind, name string
	problems   Problems
	meant      []string // fields that were mistyped
}

func (d *decoder) add(n *yaml.Node, field, what, next string) {
	d.problems = append(d.problems, Problem{
		File: d.source.File, Line: n.Line, Column: n.Column,
		Kind: d.kind, Name: d.name, Field: field, Severity: Error, What: what, Next: next,
	})
}

func (d *decoder) object(n *yaml.Node, o Object) { d.mapping(n, reflect.ValueOf(o).Elem(), "") }

// value decodes n into v, which is at path.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.source.at[path] = Position{n.Line, n.Column}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.add(n, path, "anchors and aliases are not read", "write the value out")
		return
	case isNull(n):
		d.add(n, path, "has no value", "give it one or remove the line")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, text, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.words(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// text decodes a scalar that has a form of its own. It may look like a number or a time to YAML.
func (d *decoder) text(n *yaml.Node, v encoding.TextUnmarshaler, path string) {
	if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!int", "!!float", "!!timestamp", "!!bool"}, n.ShortTag()) {
		d.wrongType(n, path, "a text")
		return
	}
	if err := v.UnmarshalText([]byte(n.Value)); err != nil {
		what, next := adviceOf(err)
		d.add(n, path, what, next)
	}
}

// scalar decodes the types that YAML has itself.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	want, tag := "a text", "!!str"
	switch {
	case v.Kind() == reflect.Bool:
		want, tag = "true or false", "!!bool"
	case v.CanInt(), v.CanUint():
		want, tag = "a whole number", "!!int"
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tag {
		d.wrongType(n, path, want)
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.add(n, path, fmt.Sprintf("%s is out of range", n.Value), "write "+numberRange(v))
	}
}

func numberRange(v reflect.Value) string {
	if v.CanUint() {
		return fmt.Sprintf("a number from 0 to %d", ^uint64(0)>>(64-v.Type().Bits()))
	}
	return "a smaller number"
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, path, "a list")
		return
	}
	if len(n.Content) == 0 {
		return // the same as no list, so that reading and writing come back to the same thing
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		d.value(c, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// words decodes a mapping with free keys, such as labels.
func (d *decoder) words(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, "a mapping")
		return
	}
	if len(n.Content) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, path, func(key, c *yaml.Node, at string) {
		if key.ShortTag() != "!!str" {
			d.wrongType(key, at, "a text")
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(c, e, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), e)
	})
}

// mapping decodes a struct: every key must be a field, every field without omitempty must have a key.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, "a mapping")
		return
	}
	fields := fieldsOf(v.Type())
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.name
	}
	var given []string
	d.pairs(n, path, func(key, c *yaml.Node, at string) {
		i := slices.Index(known, key.Value)
		if i < 0 {
			d.meant = append(d.meant, join(path, nearest(key.Value, known)))
			d.add(key, at, "unknown field", didYouMean(key.Value, known))
			return
		}
		given = append(given, key.Value)
		d.value(c, v.FieldByIndex(fields[i].index), at)
	})
	for _, f := range fields {
		at := join(path, f.name)
		judged := at == "apiVersion" || at == "kind" // before the fields were known
		if f.required && !judged && !slices.Contains(given, f.name) && !slices.Contains(d.meant, at) {
			d.add(n, at, "is missing", "write "+f.name+":")
		}
	}
}

// pairs walks a mapping once: keys must be plain words and different.
func (d *decoder) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node, at string)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || key.Anchor != "" {
			d.add(key, path, "a key is not a word", "write plain keys; anchors, aliases and merges are not read")
			continue
		}
		at := join(path, word(key.Value))
		if line, twice := seen[key.Value]; twice {
			d.add(key, at, fmt.Sprintf("duplicate key, first on line %d", line), "remove one of them")
			continue
		}
		seen[key.Value] = key.Line
		visit(key, value, at)
	}
}

// typeNames are YAML's types in plain words.
var typeNames = map[string]string{
	"!!map": "a mapping", "!!seq": "a list", "!!str": "a text", "!!int": "a number", "!!float": "a number",
	"!!bool": "true or false", "!!null": "no value", "!!timestamp": "a time",
}

func (d *decoder) wrongType(n *yaml.Node, path, want string) {
	have, known := typeNames[n.ShortTag()]
	if !known {
		have = "something else"
	}
	next := "write " + want
	if want == "a text" && n.Kind == yaml.ScalarNode {
		next = fmt.Sprintf("put it in quotes: %q", n.Value)
	}
	d.add(n, path, fmt.Sprintf("wrong type: want %s, have %s", want, have), next)
}

// field is one field of a struct as it is written.
type field struct {
	name     string
	index    []int
	required bool
}

// fieldsOf reads the yaml tags of a struct. A tag without omitempty says that the field must be written.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
		case options == "inline":
			for _, g := range fieldsOf(f.Type) {
				g.index = append([]int{i}, g.index...)
				fields = append(fields, g)
			}
		default:
			fields = append(fields, field{name, []int{i}, options != "omitempty"})
		}
	}
	return fields
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// word makes a key printable in one line.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xfffd }) || s == "" || len(s) > 2*maxWord {
		return fmt.Sprintf("%.130q", s)
	}
	return s
}
