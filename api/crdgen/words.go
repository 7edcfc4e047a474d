package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// words are what the source says and reflection does not: comments, and the values that a type of text may have.
type words struct {
	types  map[string]string   // by type
	fields map[string]string   // by Type.Field
	values map[string][]string // by type
}

func readWords(dir string) (words, error) {
	w := words{map[string]string{}, map[string]string{}, map[string][]string{}}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return w, err
	}
	files := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return w, err
		}
		f, err := parser.ParseFile(files, name, text, parser.ParseComments)
		if err != nil {
			return w, fmt.Errorf("read comments: %w", err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				w.declaration(g)
			}
		}
	}
	return w, nil
}

func (w words) declaration(g *ast.GenDecl) {
	for _, s := range g.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			w.types[s.Name.Name] = plain(g.Doc)
			if body, ok := s.Type.(*ast.StructType); ok {
				w.structure(s.Name.Name, body)
			}
		case *ast.ValueSpec:
			name, ok := s.Type.(*ast.Ident)
			if !ok || g.Tok != token.CONST || len(s.Values) != 1 {
				continue
			}
			if v, ok := s.Values[0].(*ast.BasicLit); ok && v.Kind == token.STRING {
				if text, err := strconv.Unquote(v.Value); err == nil {
					w.values[name.Name] = append(w.values[name.Name], text)
				}
			}
		}
	}
}

func (w words) structure(name string, body *ast.StructType) {
	before := ""
	for _, f := range body.Fields.List {
		doc := plain(f.Doc)
		if doc == "" {
			doc = plain(f.Comment)
		}
		if doc == "" {
			doc = before // one comment stands above a few fields that belong together
		}
		before = doc
		for _, n := range f.Names {
			w.fields[name+"."+n.Name] = doc
		}
	}
}

// plain is a comment as one line, without the markers of tools.
func plain(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	var lines []string
	for line := range strings.Lines(c.Text()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "+kubebuilder") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}
