package arch

import (
	"go/ast"
	"go/token"
	"slices"
)

// wellKnown are methods whose meaning is that of the interface they serve; a comment may be left out.
var wellKnown = []string{"String", "Error", "Unwrap", "Is", "As", "Set", "Len", "Less", "Swap", "Write", "Read", "Close",
	"MarshalJSON", "UnmarshalJSON", "MarshalYAML", "UnmarshalYAML", "MarshalText", "UnmarshalText", "ServeHTTP", "IsZero", "LogValue",
	"Describe", "Collect"}

// Exported finds exported names without a comment. Fields are left to their authors: many say all in their name.
func Exported(all []Package) ([]Finding, error) {
	var found []Finding
	for _, p := range all {
		if p.Name == "main" {
			continue
		}
		files, err := parsePackage(p, p.GoFiles)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			for _, d := range f.ast.Decls {
				found = append(found, f.undocumented(d)...)
			}
		}
	}
	return found, nil
}

func (f file) undocumented(d ast.Decl) []Finding {
	finding := func(n ast.Node, name string) []Finding {
		return []Finding{{f.at(n), name + " has no comment", "what is exported says what it is, with units and errors"}}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !(d.Recv != nil && slices.Contains(wellKnown, d.Name.Name)) {
			return finding(d, d.Name.Name)
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT || d.Doc != nil && d.Tok != token.TYPE {
			return nil
		}
		var found []Finding
		for i, s := range d.Specs {
			if i > 0 && valueOfType(d.Specs[0]) {
				continue
			}
			if name, documented := documentedSpec(s); name != "" && !documented && d.Doc == nil {
				found = append(found, finding(s, name)...)
			}
		}
		return found
	}
	return nil
}

// exportedReceiver reports whether a function can be called from outside: it has no receiver, or one of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// documentedSpec returns the first exported name of a type, constant or variable and whether a comment stands at it.
func documentedSpec(s ast.Spec) (name string, documented bool) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			return s.Name.Name, s.Doc != nil || s.Comment != nil
		}
	case *ast.ValueSpec:
		if valueOfType(s) {
			return "", true
		}
		for _, n := range s.Names {
			if n.IsExported() {
				return n.Name, s.Doc != nil || s.Comment != nil
			}
		}
	}
	return "", false
}

// valueOfType reports whether s declares a value of a named type: the comment is at the type. In a group the first tells.
func valueOfType(s ast.Spec) bool {
	v, ok := s.(*ast.ValueSpec)
	return ok && v.Type != nil
}
