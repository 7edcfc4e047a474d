// Package arch keeps the shape of the code: who may import whom, what is banned where, and that every package says what it is.
//
// Its tests load the whole tree with `go list` and fail with the rule and its reason. The same checks run on small trees with
// planted faults, so that a checker which sees nothing cannot pass.
package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Module is the path of the module whose shape is checked.
const Module = "hexapod.dev"

// Package is what `go list -json` tells of one package of the tree.
type Package struct {
	ImportPath   string
	Name         string
	Dir          string   // absolute
	Doc          string   // first sentence of the package comment
	Imports      []string // of the files that are built
	TestImports  []string // of _test.go files of the same package
	XTestImports []string // of _test.go files of package x_test
	Deps         []string // everything imported, at any depth, tests left out
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// Path is the package's place in the tree: "model/prefix", or "." for the root.
func (p Package) Path() string {
	if p.ImportPath == Module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, Module+"/")
}

// Shelf is the first word of the package's place: "model" for "model/prefix".
func (p Package) Shelf() string { return shelfOf(p.ImportPath) }

// Finding is one broken rule.
type Finding struct {
	Where string // package or file:line
	What  string
	Why   string // the rule, in words
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s (%s)", f.Where, f.What, f.Why) }

// Load lists the packages under dir that match the patterns, as they are built for Linux. A package that does not compile is
// listed as far as it could be read: the compiler tells of it better than this.
func Load(ctx context.Context, dir string, patterns ...string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-e",
		"-json=ImportPath,Name,Dir,Doc,Imports,TestImports,XTestImports,Deps,GoFiles,TestGoFiles,XTestGoFiles"}, patterns...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages in %s: %w: %s", dir, err, stderr.String())
	}
	var all []Package
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the answer of go list: %w", err)
		}
		all = append(all, p)
	}
}

// ours reports whether an import path belongs to this module.
func ours(path string) bool { return path == Module || strings.HasPrefix(path, Module+"/") }

// standard reports whether an import path is of the standard library: its first word has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && !ours(path)
}

func shelfOf(importPath string) string {
	shelf, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(importPath, Module), "/"), "/")
	return shelf
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
