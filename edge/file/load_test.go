package file

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hexapod.dev/api/v1alpha1"
)

const (
	planYAML = `apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: lab}
spec:
  prefix: 2001:db8:a000::/37
  lab: true
  clusters:
  - {name: main, number: 0, racks: [{name: r1, number: 1}]}
`
	hostYAML = `apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {rack: r1, number: 1}
`
)

// write makes files, and the folders they lie in.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"plan.yaml": planYAML, "hosts.yml": hostYAML,
		".hidden.yaml": "not: ours", "notes.txt": "not yaml: [", "sub/more.yaml": "not: ours",
	})
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Config("h1")
	if err != nil || c.Self.Prefix != netip.MustParsePrefix("2001:db8:a000:401::/64") {
		t.Errorf("host h1 has %s, %v", c.Self.Prefix, err)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("warnings: %v", s.Warnings)
	}
}

// TestLoadRefusesTheWholeFolder: one wrong document among right ones, and all problems of all files at once.
func TestLoadRefusesTheWholeFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.yaml": planYAML, "b.yaml": hostYAML,
		"c.yaml": strings.Replace(hostYAML, "rack: r1", "rack: r9", 1),
		"d.yaml": strings.Replace(hostYAML, "number: 1", "nmber: 1", 1),
	})
	s, err := Load(dir)
	var problems v1alpha1.Problems
	if !errors.As(err, &problems) || s.Objects.Plan != nil {
		t.Fatalf("%v, %v", s, err)
	}
	c, d := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "d.yaml")
	want := strings.Join([]string{
		c + ":3:18: Host h1: metadata.name: is used twice, first in " + filepath.Join(dir, "b.yaml") + ":1; give each its own",
		c + ":4:14: Host h1: spec.rack: cluster main has no rack r9; add it to the plan or name one of: r1",
		d + ":3:18: Host h1: metadata.name: is used twice, first in " + filepath.Join(dir, "b.yaml") + ":1; give each its own",
		d + ":4:18: Host h1: spec.nmber: unknown field; did you mean number?",
	}, "\n")
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

func TestLoadNoPlan(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || err.Error() != dir+": AddressPlan: there is none; make one with hexapod plan new" {
		t.Errorf("empty folder: %v", err)
	}
	broken := filepath.Join(dir, "plan.yaml")
	if err := os.WriteFile(broken, []byte("kind: AddressPlan\n\tx: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || strings.Contains(err.Error(), "there is none") || !strings.Contains(err.Error(), "not YAML") {
		t.Errorf("a plan that cannot be read is not missing: %v", err)
	}
	gone := filepath.Join(dir, "gone")
	if _, err := Load(gone); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), gone) {
		t.Errorf("missing folder: %v", err)
	}
}

func TestLoadDanglingLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML})
	if err := os.Symlink("nowhere", filepath.Join(dir, "hosts.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "hosts.yaml") {
		t.Errorf("half a folder is read: %v", err)
	}
}

func TestLoadSealed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": strings.Replace(planYAML, "  lab: true\n", "  lab: true\n  hostPart: sealed\n  sealKeyFile: seal.key\n", 1)})
	for _, c := range []struct{ key, want string }{
		{"", "seal.key is not there"},
		{"zz", "holds something else than hexadecimal digits"},
		{"00ff", "want 16 bytes, got 2"},
		{"000102030405060708090a0b0c0d0e0f\n", ""},
	} {
		if c.key != "" {
			write(t, dir, map[string]string{"seal.key": c.key})
		}
		s, err := Load(dir)
		switch {
		case c.want == "" && (err != nil || s.Seal == nil):
			t.Errorf("key %q: %v, %v", c.key, s.Seal, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "plan.yaml:8:16: AddressPlan lab: spec.sealKeyFile")):
			t.Errorf("key %q: %v, want %s", c.key, err, c.want)
		}
	}
}

func TestRenumbered(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML, "hosts.yaml": hostYAML})
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	was := netip.MustParsePrefix("2001:db8:a000:401::/64")
	if err := Renumbered(nil, s, map[string]netip.Prefix{"h1": was}); err != nil {
		t.Errorf("nothing changed: %v", err)
	}
	err = Renumbered(nil, s, map[string]netip.Prefix{"h1": netip.MustParsePrefix("2001:db8:a000:409::/64")})
	var problems v1alpha1.Problems
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "Host h1: spec: has 2001:db8:a000:409::/64 and would be renumbered to 2001:db8:a000:401::/64") {
		t.Errorf("got %v", err)
	}
}

// TestReadFolderIsOneMoment: two folders of two files each are exchanged by one link, as fast as it goes, while they are read.
// A read may fail because of that; it may never mix them.
func TestReadFolderIsOneMoment(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"..1/a.yaml": "1", "..1/b.yaml": "1", "..2/a.yaml": "2", "..2/b.yaml": "2"})
	for _, name := range []string{"a.yaml", "b.yaml"} {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	swap := func(to string) {
		must(t, os.Symlink(to, filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	swap("..1")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				swap([]string{"..1", "..2"}[i%2])
			}
		}
	}()
	defer func() { close(stop); <-done }()
	for good := 0; good < 100; {
		f, whole, err := readOnce(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !whole {
			continue
		}
		good++
		if a, b := string(f.files[0].data), string(f.files[1].data); a != b {
			t.Fatalf("mixed: a.yaml of %s, b.yaml of %s", a, b)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	var plan, hosts strings.Builder
	plan.WriteString(strings.Replace(planYAML, "racks: [{name: r1, number: 1}]", "racks: [", 1)[:strings.Index(planYAML, "racks:")] + "racks: [")
	for r := 1; r <= 10; r++ {
		fmt.Fprintf(&plan, "{name: r%d, number: %d},", r, r)
		for h := range 1000 {
			fmt.Fprintf(&hosts, "---\napiVersion: hexapod.dev/v1alpha1\nkind: Host\nmetadata: {name: r%dh%d}\nspec: {rack: r%d, number: %d}\n", r, h, r, h+1)
		}
	}
	plan.WriteString("]}\n")
	for name, text := range map[string]string{"plan.yaml": plan.String(), "hosts.yaml": hosts.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := Load(dir); err != nil {
			b.Fatal(err)
		}
	}
}
