package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// told is one call of Watch's function.
type told struct {
	set Set
	err error
}

// watching runs Watch and gives its results one by one.
type watching struct {
	t       *testing.T
	dir     string
	results chan told
}

func watch(t *testing.T, dir string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{t, dir, make(chan told, 16)}
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, dir, func(s Set, err error) { w.results <- told{s, err} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return w
}

// next waits for a result that is good or names wrong. A writer that is not atomic may be seen half way: such results are passed over.
func (w *watching) next(wrong string) Set {
	w.t.Helper()
	deadline := time.After(time.Minute)
	last := "nothing"
	for {
		select {
		case r := <-w.results:
			switch {
			case wrong == "" && r.err == nil:
				return r.set
			case wrong != "" && r.err != nil && strings.Contains(r.err.Error(), wrong):
				return r.set
			case r.err == nil:
				last = "a good set"
			default:
				last = r.err.Error()
			}
		case <-deadline:
			w.t.Fatalf("want %q (nothing: a good set), have %s", wrong, last)
		}
	}
}

func host(name, number string) string {
	return "---\n" + strings.NewReplacer("name: h1", "name: "+name, "number: 1", "number: "+number).Replace(hostYAML)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hosts(t *testing.T, s Set, n int) {
	t.Helper()
	if len(s.Objects.Hosts) != n {
		t.Errorf("%d hosts, want %d", len(s.Objects.Hosts), n)
	}
}

func TestWatchEdits(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML, "hosts.yaml": hostYAML})
	w := watch(t, dir)
	hosts(t, w.next(""), 1)

	// In place, as `echo >> file` does.
	write(t, dir, map[string]string{"hosts.yaml": hostYAML + host("h2", "2")})
	hosts(t, w.next(""), 2)

	// By a new file and a rename, as editors do.
	write(t, dir, map[string]string{".hosts.yaml.swp": hostYAML + host("h2", "2") + host("h3", "3")})
	must(t, os.Rename(filepath.Join(dir, ".hosts.yaml.swp"), filepath.Join(dir, "hosts.yaml")))
	hosts(t, w.next(""), 3)

	write(t, dir, map[string]string{"more.yaml": "kind: Hst"})
	w.next(`kind: "Hst" is not known; did you mean Host?`)
	must(t, os.Remove(filepath.Join(dir, "more.yaml")))
	hosts(t, w.next(""), 3)

	// From wrong to wrong to right.
	write(t, dir, map[string]string{"hosts.yaml": hostYAML + host("h1", "7")})
	w.next("metadata.name: is used twice")
	write(t, dir, map[string]string{"hosts.yaml": hostYAML + host("h4", "1")})
	w.next("host 1 of rack r1 of cluster main is also h1")
	write(t, dir, map[string]string{"hosts.yaml": hostYAML + host("h4", "4")})
	hosts(t, w.next(""), 2)
}

// TestWatchTellsOnce: what does not change the set is not told.
func TestWatchTellsOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML})
	w := watch(t, dir)
	w.next("")
	write(t, dir, map[string]string{"plan.yaml": planYAML, "notes.txt": "x", ".swp": "y"})
	must(t, os.Chmod(filepath.Join(dir, "plan.yaml"), 0o600))
	write(t, dir, map[string]string{"hosts.yaml": hostYAML})
	for {
		s := w.next("")
		if len(s.Objects.Hosts) == 1 {
			break
		}
		t.Error("the same set was told twice")
	}
}

// TestWatchConfigMap: the kubelet writes a new folder and swaps one link (pkg/volume/util/atomic_writer.go).
func TestWatchConfigMap(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"..1/plan.yaml": planYAML, "..1/hosts.yaml": hostYAML, "..2/plan.yaml": planYAML, "..2/hosts.yaml": hostYAML + host("h2", "2")})
	must(t, os.Symlink("..1", filepath.Join(dir, "..data")))
	for _, name := range []string{"plan.yaml", "hosts.yaml"} {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	w := watch(t, dir)
	hosts(t, w.next(""), 1)
	must(t, os.Symlink("..2", filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	hosts(t, w.next(""), 2)
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	write(t, dir, map[string]string{"..2/hosts.yaml": hostYAML + host("h2", "2") + host("h3", "3")})
	hosts(t, w.next(""), 3)
}

// TestWatchLinkedFile: a link to a file elsewhere is watched where it leads.
func TestWatchLinkedFile(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, elsewhere, map[string]string{"all.yaml": planYAML})
	must(t, os.Symlink(filepath.Join(elsewhere, "all.yaml"), filepath.Join(dir, "plan.yaml")))
	w := watch(t, dir)
	hosts(t, w.next(""), 0)
	write(t, elsewhere, map[string]string{"new": planYAML + "---\n" + hostYAML})
	must(t, os.Rename(filepath.Join(elsewhere, "new"), filepath.Join(elsewhere, "all.yaml")))
	hosts(t, w.next(""), 1)
}

func TestWatchMissingFolder(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "etc", "hexapod")
	w := watch(t, dir)
	w.next("no such file or directory")
	write(t, dir, map[string]string{"plan.yaml": planYAML})
	hosts(t, w.next(""), 0)

	must(t, os.RemoveAll(filepath.Join(top, "etc")))
	w.next("no such file or directory")
	write(t, dir, map[string]string{"plan.yaml": planYAML, "hosts.yaml": hostYAML})
	for len(w.next("").Objects.Hosts) != 1 { // between the two files the plan alone is right
	}
}

// TestWatchReplacedFolder: the folder is exchanged for another one, by rename and through a link.
func TestWatchReplacedFolder(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "conf")
	write(t, top, map[string]string{"conf/plan.yaml": planYAML, "b/plan.yaml": planYAML, "b/hosts.yaml": hostYAML, "c/plan.yaml": planYAML, "c/hosts.yaml": hostYAML + host("h2", "2")})
	w := watch(t, dir)
	hosts(t, w.next(""), 0)
	must(t, os.Rename(dir, filepath.Join(top, "a")))
	must(t, os.Rename(filepath.Join(top, "b"), dir))
	hosts(t, w.next(""), 1)
	must(t, os.RemoveAll(dir))
	must(t, os.Symlink("c", dir))
	hosts(t, w.next(""), 2)
	write(t, top, map[string]string{"c/hosts.yaml": hostYAML + host("h2", "2") + host("h3", "3")})
	hosts(t, w.next(""), 3)
}

// Other programs used up the host's share of inotify(7): changes are found all the same, and nobody is told of that twice.
func TestWatchWithoutInotify(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML, "hosts.yaml": hostYAML})
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{t, dir, make(chan told, 16)}
	looks := make(chan struct{}, 1)
	refuse := func(string) (*watcher, error) {
		select {
		case looks <- struct{}{}:
		default:
		}
		return nil, errors.New("too many open files")
	}
	done := make(chan error, 1)
	go func() {
		done <- repeat(ctx, &teller{dir: dir, tell: func(s Set, err error) { w.results <- told{s, err} }}, refuse, time.Millisecond)
	}()
	w.next("")
	for range 3 {
		<-looks
	}
	if len(w.results) > 0 {
		t.Error("a folder that did not change was told again")
	}
	if err := os.WriteFile(filepath.Join(dir, "wrong.yaml"), []byte("kind: Nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.next("wrong.yaml")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
