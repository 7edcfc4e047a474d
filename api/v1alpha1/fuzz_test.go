package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
)

// sameObjects compares what is written, not where.
var sameObjects = cmp.Options{
	cmpopts.IgnoreFields(Header{}, "Source"),
	cmp.Comparer(func(a, b Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b Addr) bool { return a == b }),
}

// FuzzDecode: no input makes the decoder panic, and what it accepts can be written and read back as the same objects.
func FuzzDecode(f *testing.F) {
	for _, path := range []string{"testdata/decode.txtar", "testdata/check.txtar"} {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, member := range a.Files {
			f.Add(member.Data)
		}
	}
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, problems := Decode("f.yaml", data)
		problems = append(problems, Check(objects)...)
		for _, p := range problems {
			if p.What == "" || p.Next == "" || p.String() == "" {
				t.Errorf("a problem without words: %#v", p)
			}
		}
		objects, problems = Decode("f.yaml", data)
		if len(problems.Errors()) > 0 {
			return
		}
		text, err := Encode(objects...)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := Decode("again.yaml", text)
		if errs := problems.Errors(); len(errs) > 0 {
			t.Fatalf("what was written is refused: %v\n%s", errs, text)
		}
		if diff := cmp.Diff(objects, again, sameObjects); diff != "" {
			t.Errorf("-first +again:\n%s\n%s", diff, text)
		}
	})
}
