package file

import (
	"encoding"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
	"hexapod.dev/api/v1alpha1"
)

const docs = "../../docs"

func document(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) (out []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

var somewhere = regexp.MustCompile(`\S+\.ya?ml(:\d+)+`)

// words is an error line without its places.
func words(line string) string { return somewhere.ReplaceAllString(line, "FILE") }

// TestDocumentedErrors: every error line in the documents is, but for its place, one that the tests prove.
func TestDocumentedErrors(t *testing.T) {
	proven := map[string]bool{}
	for _, path := range []string{"testdata/folder.txtar", "../../api/v1alpha1/testdata/decode.txtar", "../../api/v1alpha1/testdata/check.txtar"} {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			for line := range strings.Lines(string(f.Data)) {
				proven[words(strings.TrimSpace(line))] = strings.HasSuffix(f.Name, ".want")
			}
		}
	}
	proven[words(renumbering(t))] = true
	for _, name := range []string{"configuration.md", "identity.md"} {
		seen := 0
		for _, b := range blocks(document(t, name), "text") {
			for line := range strings.Lines(b) {
				seen++
				if !proven[words(strings.TrimSpace(line))] {
					t.Errorf("%s: no test proves\n%s", name, line)
				}
			}
		}
		if seen == 0 {
			t.Errorf("%s has no error lines", name)
		}
	}
}

// renumbering is the line about host h18 when its number changes from 18 to 20.
func renumbering(t *testing.T) string {
	t.Helper()
	set := func(number string) Set {
		text := strings.Replace(planYAML, "{name: r1, number: 1}", "{name: r3, number: 3}", 1) + host("h18", number)
		text = strings.Replace(text, "rack: r1", "rack: r3", 1)
		s, err := folder{files: []fileText{{"hosts.yaml", []byte(text)}}}.set()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := set("18")
	err := Renumbered(&before, set("20"), nil)
	if err == nil {
		t.Fatal("host h18 is renumbered and nobody minds")
	}
	return err.Error()
}

// TestDocumentedExamples: every example is right, without a warning.
func TestDocumentedExamples(t *testing.T) {
	for _, name := range []string{"configuration.md", "identity.md"} {
		examples := blocks(document(t, name), "yaml")
		if len(examples) == 0 {
			t.Errorf("%s has no examples", name)
		}
		for _, text := range examples {
			if !strings.Contains(text, "kind: AddressPlan") {
				text = planYAML + "---\n" + text
			}
			s, err := folder{files: []fileText{{name, []byte(text)}}}.set()
			if err != nil || len(s.Warnings) > 0 {
				t.Errorf("%s: %v %v\n%s", name, err, s.Warnings, text)
			}
		}
	}
}

var row = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]* \\| ([^|]*) \\|")

// TestEveryFieldIsDocumented: the tables of docs/configuration.md name the fields of each kind, all of them and no others,
// and say the defaults that the code sets.
func TestEveryFieldIsDocumented(t *testing.T) {
	text := document(t, "configuration.md")
	for _, o := range []v1alpha1.Object{
		v1alpha1.NewAddressPlan("a", v1alpha1.AddressPlanSpec{IPv4: &v1alpha1.IPv4Plan{}, DNS: &v1alpha1.DNS{}}),
		v1alpha1.NewHost("a", v1alpha1.HostSpec{}),
		v1alpha1.NewPool("a", v1alpha1.PoolSpec{}),
		v1alpha1.NewIdentity(v1alpha1.IdentitySpec{}),
		v1alpha1.NewAddress(v1alpha1.AddressSpec{}),
		v1alpha1.NewBGPPeer("a", v1alpha1.BGPPeerSpec{BFD: &v1alpha1.BFD{}}),
	} {
		kind := o.Head().Kind
		_, section, found := strings.Cut(text, "### "+kind+"\n")
		if !found {
			t.Errorf("no section ### %s", kind)
			continue
		}
		section, _, _ = strings.Cut(section, "\n#")
		v1alpha1.Validate(o) // for the defaults
		defaults := written(t, o)
		var have []string
		for _, m := range row.FindAllStringSubmatch(section, -1) {
			have = append(have, strings.NewReplacer(".KEY", "", ".NAME", "").Replace(m[1]))
			said, quoted := strings.CutPrefix(strings.TrimSpace(m[2]), "`")
			if said = strings.TrimSuffix(said, "`"); quoted && said != "false" && defaults[m[1]] != said {
				t.Errorf("%s: %s: the default is %q, documented is %q", kind, m[1], defaults[m[1]], said)
			}
		}
		want := fieldNames(reflect.ValueOf(o).Elem().FieldByName("Spec").Type(), "")
		slices.Sort(want)
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: -in the code +in the document:\n%s", kind, diff)
		}
	}
}

// written returns the scalars that an object writes in its spec, by path.
func written(t *testing.T, o v1alpha1.Object) map[string]string {
	t.Helper()
	text, err := v1alpha1.Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Spec yaml.Node }
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		if n.Kind == yaml.ScalarNode {
			out[strings.TrimPrefix(path, ".")] = n.Value
		}
		for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
			walk(n.Content[i+1], path+"."+n.Content[i].Value)
		}
	}
	walk(&doc.Spec, "")
	return out
}

// fieldNames lists the paths of the fields that can be written, lists with [].
func fieldNames(t reflect.Type, path string) (out []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, scalar := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	switch {
	case t.Kind() == reflect.Slice:
		return fieldNames(t.Elem(), path+"[]")
	case scalar || t.Kind() != reflect.Struct:
		return []string{strings.TrimPrefix(path, ".")}
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		out = append(out, fieldNames(f.Type, path+"."+name)...)
	}
	return out
}
