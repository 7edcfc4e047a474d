package pin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns/netnstest"
)

// folders returns an Open of any layout in one file system that is gone after the test.
func folders(t *testing.T) func(layout int) *Folder {
	t.Helper()
	netnstest.Root(t)
	run := t.TempDir()
	t.Cleanup(func() {
		if err := unix.Unmount(filepath.Join(run, ownMount), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return func(layout int) *Folder {
		f, err := OpenLayout(filepath.Join(run, "none"), run, layout)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

func hash(name string, value uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: name, Type: ebpf.Hash, KeySize: 4, ValueSize: value, MaxEntries: 8, Pinning: ebpf.PinByName}
}

func load(t *testing.T, f *Folder, o Options, maps ...*ebpf.MapSpec) map[string]*ebpf.Map {
	t.Helper()
	spec := &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{}}
	for _, m := range maps {
		spec.Maps[m.Name] = m
	}
	c, err := f.Load(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.Maps
}

func TestMapsOutliveTheirProcess(t *testing.T) {
	at := folders(t)
	first := load(t, at(5), Options{}, hash("flows", 4))["flows"]
	if err := first.Put(uint32(1), uint32(42)); err != nil {
		t.Fatal(err)
	}
	first.Close()
	var v uint32
	if err := load(t, at(5), Options{}, hash("flows", 4))["flows"].Lookup(uint32(1), &v); err != nil || v != 42 {
		t.Errorf("after a restart: %d, %v", v, err)
	}
	larger := hash("flows", 4)
	larger.MaxEntries = 99
	if n := load(t, at(5), Options{}, larger)["flows"].MaxEntries(); n != 8 {
		t.Errorf("a map with entries was made anew with %d", n)
	}
}

// TestNeighbourLayouts goes one layout up and back again while both are written.
func TestNeighbourLayouts(t *testing.T) {
	at := folders(t)
	old := load(t, at(5), Options{}, hash("same", 4), hash("other", 4))
	for name, m := range old {
		if err := m.Put(uint32(1), uint32(len(name))); err != nil {
			t.Fatal(err)
		}
	}
	convert := Options{Convert: map[string]func(from, into *ebpf.Map) error{"other": func(from, into *ebpf.Map) error {
		var v uint32
		if err := from.Lookup(uint32(1), &v); err != nil {
			return err
		}
		return into.Put(uint32(1), uint64(v)+1000)
	}}}
	next := load(t, at(6), convert, hash("same", 4), hash("other", 8))
	var wide uint64
	if err := next["other"].Lookup(uint32(1), &wide); err != nil || wide != 1005 {
		t.Errorf("converted: %d, %v", wide, err)
	}
	if err := next["same"].Put(uint32(2), uint32(7)); err != nil {
		t.Fatal(err)
	}
	var v uint32
	if err := load(t, at(5), Options{}, hash("same", 4), hash("other", 4))["same"].Lookup(uint32(2), &v); err != nil || v != 7 {
		t.Errorf("after the way back, what was written meanwhile: %d, %v", v, err)
	}
	if err := load(t, at(5), Options{}, hash("other", 4))["other"].Lookup(uint32(1), &v); err != nil || v != 5 {
		t.Errorf("after the way back, the old shape: %d, %v", v, err)
	}
	if n := load(t, at(7), Options{}, hash("same", 4))["same"]; n.Lookup(uint32(2), &v) != nil {
		t.Error("a map was not handed on twice")
	}
	if err := at(7).Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(at(7).layoutPath(5)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("layout 5 is still there for layout 7: %v", err)
	}
	if _, err := os.Stat(at(7).layoutPath(6)); err != nil {
		t.Errorf("layout 6 was forgotten: %v", err)
	}
}

func TestAnotherShapeOfTheSameLayoutIsRefused(t *testing.T) {
	at := folders(t)
	load(t, at(5), Options{}, hash("flows", 4))
	_, err := at(5).Load(&ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{"flows": hash("flows", 8)}}, Options{})
	var other *OtherShapeError
	if !errors.As(err, &other) || other.Map != "flows" {
		t.Errorf("got %v", err)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	at := folders(t)
	f := at(5)
	load(t, f, Options{}, hash("flows", 4))
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.own); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mount point is left: %v", err)
	}
}
