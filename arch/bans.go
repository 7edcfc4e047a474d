package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// file is one source file with what a ban has to know of it.
type file struct {
	pkg    Package
	isTest bool
	ast    *ast.File
	fset   *token.FileSet
}

// ban forbids names of one imported package in some files.
type ban struct {
	imported string            // import path
	name     func(string) bool // which of its names
	where    func(file) bool   // in which files
	why      string
}

// bans are the names that the compiler allows and this project does not.
var bans = []ban{
	{"net", oneOf("IP", "IPNet", "IPMask", "ParseIP", "ParseCIDR", "IPv4", "CIDRMask"), outside("linux/rtnl"),
		"net/netip everywhere; net.IP only at the netlink call in linux/rtnl"},
	{"github.com/vishvananda/netlink", dumps, outside("linux"),
		"a raw netlink dump may be half a list; linux/ retries and never prunes from one"},
	{"golang.org/x/sys/unix", oneOf("AF_NETLINK", "NLM_F_DUMP"), outside("linux/rtnl"),
		"linux/rtnl is the one package that dumps: it retries an interrupted one"},
	{"syscall", oneOf("AF_NETLINK", "NLM_F_DUMP", "NetlinkRIB"), outside("linux/rtnl"),
		"linux/rtnl is the one package that dumps: it retries an interrupted one"},
	{"time", oneOf("Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker"), inside("model"),
		"the model knows no world: the caller passes the second"},
	{"fmt", oneOf("Print", "Printf", "Println"), inPackages,
		"a package returns or logs (log/slog); commands write to the stream they were given"},
	{"log", anyName, built, "log/slog is the one logger"},
	{"os", oneOf("Exit"), notForTests, "only main ends the process"},
	{"io/ioutil", anyName, everywhere, "replaced by io and os"},
}

func oneOf(names ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(names, s) }
}
func anyName(string) bool { return true }

// dumps matches the calls of netlink that list a whole table: LinkList, RouteListFiltered, AddrList ...
func dumps(name string) bool { return strings.Contains(name, "List") }

func everywhere(file) bool   { return true }
func built(f file) bool      { return !f.isTest }
func inPackages(f file) bool { return !f.isTest && f.pkg.Name != "main" }
func notForTests(f file) bool {
	return inPackages(f) && !strings.HasSuffix(f.pkg.Name, "test") // a TestMain may live in one
}
func inside(place string) func(file) bool {
	return func(f file) bool { return under(f.pkg.Path(), place) }
}
func outside(place string) func(file) bool {
	return func(f file) bool { return !under(f.pkg.Path(), place) }
}

// Sizes of code that a reader can hold, generated files left out.
const (
	maxFileLines     = 500
	maxFunctionLines = 90
)

// Bans parses every file of the packages and checks names, sizes and skips.
func Bans(all []Package) ([]Finding, error) {
	var found []Finding
	for _, p := range all {
		files, err := parsePackage(p, slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			found = append(found, f.names()...)
			found = append(found, f.sizes()...)
		}
		found = append(found, skips(files)...)
	}
	return found, nil
}

func parsePackage(p Package, names []string) ([]file, error) {
	var files []file
	for _, name := range names {
		f, err := parseFile(p, filepath.Join(p.Dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func parseFile(p Package, path string) (file, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		return file{}, fmt.Errorf("parse %s: %w", path, err)
	}
	return file{pkg: p, isTest: strings.HasSuffix(path, "_test.go"), ast: parsed, fset: fset}, nil
}

// at is the place of a node as an editor opens it: path in the tree, line.
func (f file) at(n ast.Node) string {
	pos := f.fset.Position(n.Pos())
	return fmt.Sprintf("%s/%s:%d", f.pkg.Path(), filepath.Base(pos.Filename), pos.Line)
}

// imports maps the names under which the file knows its imports to their paths.
func (f file) imports() map[string]string {
	known := make(map[string]string)
	for _, spec := range f.ast.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser accepted it; it is not a path that a ban names
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		known[name] = path
	}
	return known
}

// names finds banned names. A name is `package.Name` with the package's name as this file imports it.
func (f file) names() []Finding {
	known := f.imports()
	var found []Finding
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		id, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, b := range bans {
			if known[id.Name] == b.imported && b.name(sel.Sel.Name) && b.where(f) {
				found = append(found, Finding{f.at(sel), "uses " + id.Name + "." + sel.Sel.Name, b.why})
			}
		}
		return true
	})
	return found
}

// sizes finds files and functions too long to be read in one go. Tests may have long tables.
func (f file) sizes() []Finding {
	if ast.IsGenerated(f.ast) {
		return nil
	}
	var found []Finding
	if n := f.fset.File(f.ast.Pos()).LineCount(); n > maxFileLines {
		found = append(found, Finding{f.at(f.ast), fmt.Sprintf("file of %d lines", n), fmt.Sprintf("at most %d: split it by what it is about", maxFileLines)})
	}
	if f.isTest {
		return found
	}
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
			found = append(found, Finding{f.at(fn), fmt.Sprintf("%s has %d lines", fn.Name.Name, n), fmt.Sprintf("at most %d: a longer one wants a table", maxFunctionLines)})
		}
	}
	return found
}

// skips finds tests that skip in a package that does not know HEXAPOD_ROOT: where CI promises root, a skip must fail.
func skips(files []file) []Finding {
	var found []Finding
	for _, f := range files {
		if mentionsRoot(f.ast) {
			return nil
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && (id.Name == "t" || id.Name == "tb" || id.Name == "b") {
				found = append(found, Finding{f.at(sel), "skips a test", "with HEXAPOD_ROOT=1 a skip is a failure: use netnstest, or ask for HEXAPOD_ROOT"})
			}
			return true
		})
	}
	return found
}

func mentionsRoot(f *ast.File) bool {
	var found bool
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		found = found || ok && lit.Kind == token.STRING && strings.Contains(lit.Value, "HEXAPOD_ROOT")
		return !found
	})
	return found
}
