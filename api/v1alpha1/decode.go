package v1alpha1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest file Decode reads, in bytes. A fabric of ten thousand hosts stays far below it.
const MaxFile = 16 << 20

// Decode reads every document of one file, fills defaults and checks each object. file is used in problems and nowhere else.
// All problems of all documents are reported at once. Objects with problems are returned as well, as far as they were
// understood, so that Check does not call an object missing that is there; with Problems.Errors none may be used.
func Decode(file string, data []byte) ([]Object, Problems) {
	if len(data) > MaxFile {
		what := fmt.Sprintf("the file has %d bytes, more than %d", len(data), MaxFile)
		return nil, Problems{{File: file, Severity: Error, What: what, Next: "split it"}}
	}
	var objects []Object
	var problems Problems
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := documents.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return objects, problems
		}
		if err != nil {
			// After a syntax error there is no telling where the next document begins.
			return objects, append(problems, syntaxProblem(file, err))
		}
		if len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue // only comments
		}
		o, found := decodeDocument(file, doc.Content[0])
		problems = append(problems, found...)
		if o != nil {
			objects = append(objects, o)
		}
	}
}

// Validate fills the defaults of an object that was not read by Decode and checks it alone.
func Validate(o Object) Problems {
	o.setDefaults()
	r := &report{object: o}
	if n := o.ObjectName(); !validName(n) {
		r.errorf("metadata.name", nameRule, "%q is not a name", n)
	}
	if h := o.Head(); h.Metadata.Namespace != "" && h.Kind != KindNetworkPolicy {
		r.errorf("metadata.namespace", "remove it", "%s is of the whole fabric", h.Kind)
	}
	o.check(r)
	checkRanges(r)
	return r.problems
}

func decodeDocument(file string, n *yaml.Node) (Object, Problems) {
	d := &decoder{source: Source{File: file, start: Position{n.Line, n.Column}, at: map[string]Position{}}}
	if n.Kind != yaml.MappingNode {
		d.add(n, "", "the document is not a mapping of fields", "begin with apiVersion, kind, metadata and spec")
		return nil, d.problems
	}
	d.kind, d.name = peek(n, "kind"), peekName(n)
	want := versionOf(d.kind)
	switch version := peek(n, "apiVersion"); version {
	case want:
	case "":
		d.add(n, "apiVersion", "is missing", "write apiVersion: "+want)
	default:
		d.add(child(n, "apiVersion"), "apiVersion", fmt.Sprintf("%q is not known", version), "write "+want)
	}
	o := newObject(d.kind)
	switch {
	case d.kind == "":
		d.add(n, "kind", "is missing", "write kind: and one of "+strings.Join(Kinds(), ", "))
		return nil, d.problems
	case o == nil:
		d.add(child(n, "kind"), "kind", fmt.Sprintf("%q is not known", d.kind), didYouMean(d.kind, Kinds()))
		return nil, d.problems
	}
	d.object(n, o)
	o.Head().Source = d.source
	return o, append(d.problems, slices.DeleteFunc(Validate(o), d.known)...)
}

// known reports whether a field already has a problem that the checks would only repeat: its value was not read, or it was
// mistyped and is not missing as well.
func (d *decoder) known(p Problem) bool {
	covers := func(q Problem) bool { return q.Field == p.Field || strings.HasPrefix(p.Field, q.Field+".") }
	return slices.Contains(d.meant, p.Field) || slices.ContainsFunc(d.problems, covers)
}

// child returns the value under key of a mapping, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// peek returns the scalar under key, or "".
func peek(n *yaml.Node, key string) string {
	c := child(n, key)
	if c == nil || c.Kind != yaml.ScalarNode || isNull(c) {
		return ""
	}
	return c.Value
}

// peekName returns metadata.name for problems, in one printable line whatever was written there.
func peekName(n *yaml.Node) string {
	name := peek(child(n, "metadata"), "name")
	if name != "" && !validName(name) {
		return strconv.Quote(name)
	}
	return name
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// syntaxForm takes the line out of the parser's own words.
var syntaxForm = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Severity: Error, What: err.Error(), Next: "repair the YAML; nothing after this place was read"}
	m := syntaxForm.FindStringSubmatch(err.Error())
	if m == nil {
		return p
	}
	p.What = "not YAML: " + m[2]
	if n, err := strconv.Atoi(m[1]); err == nil {
		p.Line, p.Column = n, 1
		// The library counts lines from 1 for what its scanner finds and from 0 for what its parser finds.
		if parserForm.MatchString(m[2]) {
			p.Line++
		}
	}
	if strings.HasPrefix(m[2], "mapping values") {
		p.Next = "repair the YAML; an address that ends in :: needs quotes"
	}
	return p
}

// parserForm is what the parser, not the scanner, complains of.
var parserForm = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or|<document start>|<stream-start>)`)
