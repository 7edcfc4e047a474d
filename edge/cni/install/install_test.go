package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// host is the folders of a runtime with the named plugins in it.
func host(t *testing.T, plugins ...string) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{BinDir: filepath.Join(dir, "bin"), ConfDir: filepath.Join(dir, "net.d"), Plugin: filepath.Join(dir, "hexapod-cni")}
	for _, d := range []string{o.BinDir, o.ConfDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, o.Plugin, "first")
	for _, p := range plugins {
		write(t, filepath.Join(o.BinDir, p), p)
	}
	return o
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const withPortmap = `{
  "cniVersion": "1.1.0",
  "name": "hexapod",
  "plugins": [
    {
      "type": "hexapod-cni"
    },
    {
      "capabilities": {
        "portMappings": true
      },
      "snat": true,
      "type": "portmap"
    }
  ]
}
`

func TestPutAndRemove(t *testing.T) {
	o := host(t, "portmap")
	did, err := Put(o)
	if err != nil || len(did) != 2 {
		t.Fatalf("Put: %v, %v", did, err)
	}
	if d := cmp.Diff(withPortmap, read(t, filepath.Join(o.ConfDir, Conflist))); d != "" {
		t.Errorf("conflist (-want +have):\n%s", d)
	}
	info, err := os.Stat(filepath.Join(o.BinDir, Plugin))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the plugin cannot be executed: %v, %v", info, err)
	}
	if did, err := Put(o); err != nil || len(did) != 0 {
		t.Errorf("Put again: %v, %v", did, err)
	}
	write(t, o.Plugin, "second")
	if did, err := Put(o); err != nil || len(did) != 1 || read(t, filepath.Join(o.BinDir, Plugin)) != "second" {
		t.Errorf("Put of a new plugin: %v, %v", did, err)
	}
	if did, err := Remove(o); err != nil || len(did) != 2 {
		t.Errorf("Remove: %v, %v", did, err)
	}
	if left, _ := os.ReadDir(o.ConfDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if left, _ := os.ReadDir(o.BinDir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if did, err := Remove(o); err != nil || len(did) != 0 {
		t.Errorf("Remove again: %v, %v", did, err)
	}
}

func TestChains(t *testing.T) {
	for _, c := range []struct {
		name  string
		chain []string
		want  string // plugins, or the error
	}{
		{"nothing is there", nil, "hexapod-cni"},
		{"none", []string{}, "hexapod-cni"},
		{"the stock plugin of bandwidth", []string{"tuning", "bandwidth"}, "Hexapod serves the annotations"},
		{"one that makes interfaces", []string{"bridge"}, "it makes the interface that Hexapod makes"},
		{"one that is not installed", []string{"portmap"}, "portmap is to be chained and is not in"},
		{"one that is", []string{"tuning"}, "hexapod-cni tuning"},
		{"a path", []string{"../tuning"}, "write its name alone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := host(t, "tuning", "bandwidth", "bridge")
			o.Chain = c.chain
			_, err := Put(o)
			have := ""
			if err != nil {
				have = err.Error()
			} else {
				for line := range strings.Lines(read(t, filepath.Join(o.ConfDir, Conflist))) {
					if _, name, ok := strings.Cut(line, `"type": `); ok {
						have += strings.Trim(name, "\",\n") + " "
					}
				}
				have = strings.TrimSpace(have)
			}
			if err == nil && have != c.want || !strings.Contains(have, c.want) {
				t.Errorf("have %q, want %q", have, c.want)
			}
			if _, there := os.Stat(filepath.Join(o.BinDir, Plugin)); err != nil && there == nil {
				t.Error("half of it was installed")
			}
		})
	}
}

func TestAnotherConfigurationIsNamed(t *testing.T) {
	o := host(t)
	write(t, filepath.Join(o.ConfDir, "00-other.conflist"), "{}")
	write(t, filepath.Join(o.ConfDir, "99-other.conflist"), "{}")
	did, err := Put(o)
	if err != nil || len(did) != 3 || !strings.Contains(did[2], "00-other.conflist stands before") {
		t.Errorf("%q, %v", did, err)
	}
}
