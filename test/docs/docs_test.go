package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// documents are all Markdown files of the tree.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist", "testdata"}, d.Name()):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 5 {
		t.Fatalf("only %d documents found", len(texts))
	}
	return texts
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for path, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
				t.Errorf("%s: link to %s: %v", path, m[1], err)
			}
		}
	}
}

// TestEveryPageIsLinked: a page that the README does not lead to is not found.
func TestEveryPageIsLinked(t *testing.T) {
	texts := documents(t)
	readme := texts[filepath.Join(root, "README.md")]
	for path := range texts {
		page, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(page) == "docs" && !strings.Contains(readme, "]("+page+")") {
			t.Errorf("README.md does not link %s", page)
		}
	}
}

var (
	makeCall   = regexp.MustCompile("(?m)(?:`|^|sudo -E |=1 )make ([a-z-]+)")
	makeTarget = regexp.MustCompile(`(?m)^([a-z-]+):.*## `)
)

// TestMakeTargetsExist also holds the Makefile to the targets the project promises, each with its line in `make help`.
func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		have = append(have, m[1])
	}
	for _, want := range strings.Fields("build test demo lab cluster cluster-down conformance bench lint generate fuzz soak help") {
		if !slices.Contains(have, want) {
			t.Errorf("Makefile has no target %s with a help line", want)
		}
	}
	for path, text := range documents(t) {
		for _, m := range makeCall.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(have, m[1]) {
				t.Errorf("%s: make %s: no such target", path, m[1])
			}
		}
	}
}

// TestReadmeCommandsAreWhatCIRuns keeps the two commands of the README the ones that CI proves.
func TestReadmeCommandsAreWhatCIRuns(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ci, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"demo", "test"} {
		if !strings.Contains(string(readme), "make "+command) {
			t.Errorf("README.md does not name make %s", command)
		}
		if !strings.Contains(string(ci), "make -s "+command) {
			t.Errorf(".ci/run does not run make %s", command)
		}
	}
}

var (
	heading = regexp.MustCompile(`(?m)^## (.+)$`)
	order   = []string{"Name", "Description", "Syntax", "Metrics", "Examples", "Limits", "See also"}
)

// TestPagesOfFeaturesHaveOneOrder: who knows one page finds things in all of them, as in manuals.
func TestPagesOfFeaturesHaveOneOrder(t *testing.T) {
	var pages int
	for path, text := range documents(t) {
		var have []string
		for _, m := range heading.FindAllStringSubmatch(text, -1) {
			have = append(have, m[1])
		}
		if len(have) == 0 || have[0] != "Name" {
			continue // no page of a feature
		}
		pages++
		at := -1
		for _, h := range have {
			i := slices.Index(order, h)
			if i <= at {
				t.Errorf("%s: section %s: want sections %v in this order, and others as parts of them", path, h, order)
			}
			at = i
		}
	}
	if pages < 8 {
		t.Errorf("only %d pages of features found", pages)
	}
}
