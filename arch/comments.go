package arch

import (
	"fmt"
	"slices"
	"strings"
)

// badNames are package names that say nothing about what is inside.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "types", "base"}

// maxSentence keeps a package's line in docs/map.md a line.
const maxSentence = 160

// Comments checks that every package says what it is, in a sentence that fits its line in docs/map.md, and has a name that
// says something.
func Comments(all []Package) []Finding {
	var found []Finding
	for _, p := range all {
		if slices.Contains(badNames, p.Name) {
			found = append(found, Finding{p.Path(), fmt.Sprintf("package name %q", p.Name), "a package is named after the one thing it is about"})
		}
		if len(p.GoFiles) == 0 {
			continue // tests only: nothing to put on the map
		}
		if why := badComment(p); why != "" {
			found = append(found, Finding{p.Path(), why, "the first sentence of the package comment is the package's line in docs/map.md"})
		}
	}
	return found
}

func badComment(p Package) string {
	want := "Package " + p.Name + " "
	if p.Name == "main" {
		want = "Command " + p.Path()[strings.LastIndex(p.Path(), "/")+1:] + " "
	}
	switch {
	case p.Doc == "":
		return "has no package comment"
	case !strings.HasPrefix(p.Doc, want):
		return fmt.Sprintf("package comment begins %q, want %q", p.Doc[:min(len(p.Doc), len(want))], want)
	case !strings.HasSuffix(p.Doc, "."):
		return "the first sentence of the package comment has no end"
	case len(p.Doc) > maxSentence:
		return fmt.Sprintf("the first sentence of the package comment has %d characters, at most %d fit a line", len(p.Doc), maxSentence)
	}
	return ""
}
