package v1alpha1

import (
	"bytes"
	"strings"
	"testing"
)

// TestLimitAndOneMore: a file of MaxFile bytes is read, one byte more is refused.
func TestLimitAndOneMore(t *testing.T) {
	padding := bytes.Repeat([]byte("#"), MaxFile+1)
	if _, problems := Decode("big.yaml", padding[:MaxFile]); len(problems) > 0 {
		t.Errorf("at the limit: %v", problems)
	}
	_, problems := Decode("big.yaml", padding)
	if want := "big.yaml: the file has 16777217 bytes, more than 16777216; split it"; problems.Error() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
}

// TestAliasesAreNotFollowed: a few lines of aliases can stand for gigabytes.
func TestAliasesAreNotFollowed(t *testing.T) {
	text := "apiVersion: hexapod.dev/v1alpha1\nkind: Pool\nmetadata: {name: a}\nspec:\n  prefix: 2e00:1450::/64\n  namespaces: &a [x, x]\n"
	for range 40 {
		text += "  description: *a\n"
	}
	_, problems := Decode("bomb.yaml", []byte(text))
	if len(problems) != 41 || !strings.Contains(problems[0].String(), "anchors and aliases are not read") {
		t.Errorf("%d problems: %v", len(problems), problems)
	}
}

// TestDocumentsAfterAWrongOneAreRead: one run shows what is wrong everywhere.
func TestDocumentsAfterAWrongOneAreRead(t *testing.T) {
	const pool = "apiVersion: hexapod.dev/v1alpha1\nkind: Pool\nmetadata: {name: a}\nspec: {prefix: 2e00:1450:1::/64, colour: red}\n"
	objects, problems := Decode("two.yaml", []byte(pool+"---\n"+strings.Replace(pool, "name: a", "name: b", 1)))
	if len(objects) != 2 || len(problems) != 2 {
		t.Fatalf("%d objects, %d problems: %v", len(objects), len(problems), problems)
	}
	if p := problems[1]; p.Name != "b" || p.Line != 9 {
		t.Errorf("second: %s", p)
	}
	// The place survives for checks that come later.
	if p := ProblemAt(objects[1], "spec.prefix", "x", "y"); p.Line != 9 || p.Column != 16 {
		t.Errorf("place of spec.prefix: %d:%d", p.Line, p.Column)
	}
	if p := ProblemAt(objects[1], "spec.namespaces[3]", "x", "y"); p.Line != 9 || p.Column != 7 {
		t.Errorf("place of a field that was left out: %d:%d, want that of spec", p.Line, p.Column)
	}
}
