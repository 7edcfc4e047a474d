package sysctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

// shown is a folder that looks like the settings of a machine: the real ones of the first namespace are not a test's to change.
func shown(t *testing.T, values map[Key]string) *Table {
	t.Helper()
	table := &Table{root: t.TempDir()}
	for key, v := range values {
		file := filepath.Join(table.root, string(key))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(v+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

func TestTablesAreRaisedAndNeverLowered(t *testing.T) {
	const n, r = "net/ipv6/neigh/default/gc_thresh", "net/ipv6/route/max_size"
	for _, tc := range []struct {
		name       string
		kernel     release
		have, want map[Key]string
		changed    []Key
	}{
		{"as the kernel begins", release{6, 18},
			map[Key]string{n + "1": "128", n + "2": "512", n + "3": "1024", r: "4096"},
			map[Key]string{n + "1": "4096", n + "2": "8192", n + "3": "16384", r: "4096"},
			[]Key{n + "3", n + "2", n + "1"}},
		{"one less, equal, one more", release{6, 18},
			map[Key]string{n + "1": "4095", n + "2": "8192", n + "3": "16385"},
			map[Key]string{n + "1": "4096", n + "2": "8192", n + "3": "16385"},
			[]Key{n + "1"}},
		{"before Linux 6.3", release{6, 2},
			map[Key]string{n + "1": "9999", n + "2": "19999", n + "3": "29999", r: "4096"},
			map[Key]string{n + "1": "9999", n + "2": "19999", n + "3": "29999", r: "1048576"},
			[]Key{r}},
		{"before Linux 6.3, larger already", release{5, 15},
			map[Key]string{n + "1": "9999", n + "2": "19999", n + "3": "29999", r: "2147483647"},
			map[Key]string{n + "1": "9999", n + "2": "19999", n + "3": "29999", r: "2147483647"},
			nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Care{settings: shown(t, tc.have), kernel: tc.kernel}
			delta, left, err := c.Tables(t.Context())
			if err != nil || len(left) > 0 {
				t.Fatalf("left %v, %v", left, err)
			}
			if d := cmp.Diff(tc.changed, delta.Change); d != "" {
				t.Errorf("changed, in order (-want +have):\n%s", d)
			}
			have := map[Key]string{}
			for key := range tc.want {
				if have[key], err = c.settings.Read(key); err != nil {
					t.Error(err)
				}
			}
			if d := cmp.Diff(tc.want, have); d != "" {
				t.Errorf("settings (-want +have):\n%s", d)
			}
		})
	}
	t.Run("not a number", func(t *testing.T) {
		c := &Care{settings: shown(t, map[Key]string{n + "1": "9999", n + "2": "many", n + "3": "29999"}), kernel: release{6, 18}}
		if _, _, err := c.Tables(t.Context()); err == nil || !strings.Contains(err.Error(), `gc_thresh2: it says "many"`) {
			t.Errorf("%v", err)
		}
	})
}

func TestNeighbourTableBelongsToTheFirstNamespace(t *testing.T) {
	c, err := OpenCare(netnstest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, left, err := c.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []desired.Undone{{Kind: "table", Name: "neighbours", Why: NeighboursElsewhere}}
	if d := cmp.Diff(want, left); d != "" {
		t.Errorf("left (-want +have):\n%s", d)
	}
}

func TestParseRelease(t *testing.T) {
	for text, want := range map[string]release{"6.2.0-39-generic": {6, 2}, "6.18.3": {6, 18}, "6.1": {6, 1}, "5.15+": {5, 15}} {
		if have, err := parseRelease(text); err != nil || have != want {
			t.Errorf("parseRelease(%q) = %v, %v; want %v", text, have, err, want)
		}
	}
	for _, text := range []string{"", "6", "six.two"} {
		if have, err := parseRelease(text); err == nil {
			t.Errorf("parseRelease(%q) = %v, want an error", text, have)
		}
	}
	if !(release{6, 2}).before(6, 3) || (release{6, 3}).before(6, 3) || !(release{5, 19}).before(6, 3) || (release{7, 0}).before(6, 3) {
		t.Error("order of versions")
	}
}
