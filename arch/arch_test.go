package arch

import (
	"testing"
)

// TestTree holds the whole tree to the rules. Everything else in this package proves that the rules see what they should.
func TestTree(t *testing.T) {
	all, err := Load(t.Context(), "..", "./...")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d packages found: the tree was not read", len(all))
	}
	bans, err := Bans(all)
	if err != nil {
		t.Fatal(err)
	}
	exported, err := Exported(all)
	if err != nil {
		t.Fatal(err)
	}
	for rule, found := range map[string][]Finding{"arrows": Arrows(all), "comments": Comments(all), "exported": exported, "bans": bans} {
		for _, f := range found {
			t.Errorf("%s: %s", rule, f)
		}
	}
}
