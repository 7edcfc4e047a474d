package sysctl

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// settings is a table of files, each with its value.
func settings(t *testing.T, values map[Key]string) *Table {
	t.Helper()
	table := &Table{root: t.TempDir()}
	for key, value := range values {
		path := table.path(key)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// What a setting was before the first change comes back, whatever it was set to since and whoever asks.
func TestOriginalsComeBack(t *testing.T) {
	all, eth0, gone := IPv6("all", "forwarding"), IPv6("eth0", "accept_ra"), IPv6("eth1", "accept_ra")
	table := settings(t, map[Key]string{all: "0", eth0: "1", gone: "1"})
	file := Originals(filepath.Join(t.TempDir(), "settings.json"))
	table.was = file
	for _, value := range []string{"2", "0"} {
		if _, err := table.Reconcile(map[Key]string{all: "1", eth0: value, gone: "2"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(table.path(gone))); err != nil {
		t.Fatal(err)
	}
	later := &Table{root: table.root}
	done, err := file.Restore(later)
	if err != nil || !slices.Equal(done, []Key{all, eth0}) {
		t.Errorf("restored %v, %v; want forwarding first", done, err)
	}
	for key, want := range map[Key]string{all: "0", eth0: "1"} {
		if have, err := later.Read(key); err != nil || have != want {
			t.Errorf("%s is %q, want %q (%v)", key, have, want, err)
		}
	}
	if done, err := file.Restore(later); err != nil || len(done) > 0 {
		t.Errorf("again: %v, %v", done, err)
	}
}

// A setting is not changed when what it was cannot be kept: the host could not be put back.
func TestNothingIsChangedThatCannotBeKept(t *testing.T) {
	key := IPv6("eth0", "accept_ra")
	table := settings(t, map[Key]string{key: "1"})
	table.was = Originals(filepath.Join(t.TempDir(), "no", "such", "folder"))
	if err := table.Write(key, "2"); err == nil {
		t.Error("no error")
	}
	if have, err := table.Read(key); err != nil || have != "1" {
		t.Errorf("it is %q, %v", have, err)
	}
}

func TestMakeWritableLeavesWhatIs(t *testing.T) {
	if err := makeWritable(t.TempDir()); err != nil {
		t.Error(err)
	}
}
