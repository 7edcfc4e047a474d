package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// provedBy is a test that docs/rfc.md names, and the folder of its package.
var provedBy = regexp.MustCompile("\\[`(Test[A-Za-z0-9_]+)`\\]\\(\\.\\./([a-z0-9/]+)\\)")

// TestProofsExist: a requirement is proved by a test that is there.
func TestProofsExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/rfc.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := provedBy.FindAllStringSubmatch(string(page), -1)
	if len(found) < 30 {
		t.Fatalf("docs/rfc.md names %d tests", len(found))
	}
	sources := map[string]string{}
	for _, m := range found {
		name, folder := m[1], m[2]
		if sources[folder] == "" {
			files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				sources[folder] += string(text)
			}
		}
		if !strings.Contains(sources[folder], "func "+name+"(t *testing.T)") {
			t.Errorf("docs/rfc.md: %s has no %s", folder, name)
		}
	}
}
