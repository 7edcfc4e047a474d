package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch loads a folder and tells the result, and again whenever it changes, until ctx ends; then it returns nil. It tells a set
// that is right, or an error: then the caller goes on with the last set. Whether a set suits what runs is for the caller to ask:
// see Renumbered. The same result is not told twice. The folder may come, go and be replaced, and its files may be links, as
// those of a Kubernetes ConfigMap are. Where the kernel lets nothing be watched, the folder is read every few seconds.
func Watch(ctx context.Context, dir string, tell func(Set, error)) error {
	return repeat(ctx, &teller{dir: dir, tell: tell}, arm, unwatched)
}

// unwatched is how often a folder is read that cannot be watched: other programs of the host may use up what inotify(7) has for
// each user (fs.inotify.max_user_instances, 128 by default), and that is no reason to stop.
const unwatched = 10 * time.Second

func repeat(ctx context.Context, t *teller, arm func(dir string) (*watcher, error), pause time.Duration) error {
	for ctx.Err() == nil {
		w, err := arm(t.dir)
		// Only what happens after arm wakes the watch, so the folder is read after it.
		t.look()
		if err == nil {
			err = errors.Join(w.wait(ctx), w.Close())
		}
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// teller remembers what it told.
type teller struct {
	dir  string
	tell func(Set, error)
	said [sha256.Size]byte
	was  string // the error that was told last
	told bool
}

func (t *teller) look() {
	f, err := readFolder(t.dir)
	var s Set
	if err == nil {
		s, err = f.set()
	}
	sum, text := f.sum(s.Secrets.Sum()), ""
	if err != nil {
		text = err.Error()
	}
	if t.told && sum == t.said && text == t.was {
		return
	}
	t.said, t.was, t.told = sum, text, true
	t.tell(s, err)
}

// watcher wakes up for one change of a folder. A new one is made after each: a folder may be another one by then.
type watcher struct {
	*fsnotify.Watcher
	inside string          // every name in this folder counts
	paths  map[string]bool // and these names
}

// arm watches the folder, what leads to it, and what its links lead to.
func arm(dir string) (*watcher, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("watch configuration folder: %w", err)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch configuration folder %s: %w", dir, err)
	}
	w := &watcher{notify, dir, map[string]bool{}}
	if err := w.follow(dir); err != nil {
		return nil, errors.Join(err, notify.Close())
	}
	if err := w.add(dir); err != nil {
		return nil, errors.Join(err, notify.Close())
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return w, nil // the load says why
	}
	for _, n := range names {
		if n.Type()&fs.ModeSymlink == 0 {
			continue
		}
		if err := w.follow(filepath.Join(dir, n.Name())); err != nil {
			return nil, errors.Join(err, notify.Close())
		}
	}
	return w, nil
}

// maxLinks is how many links the kernel follows (MAXSYMLINKS in linux/namei.h).
const maxLinks = 40

// follow watches a path, every part that is missing on the way to it, and where its links lead.
func (w *watcher) follow(path string) error {
	for range maxLinks {
		for p := path; ; p = filepath.Dir(p) {
			w.paths[p] = true
			if _, err := os.Lstat(filepath.Dir(p)); err == nil || p == filepath.Dir(p) {
				if err := w.add(filepath.Dir(p)); err != nil {
					return err
				}
				break
			}
		}
		target, err := os.Readlink(path)
		if err != nil {
			return nil // not a link, or not there
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = filepath.Clean(target)
	}
	return nil
}

// add watches a folder; one that is not there is watched for in the folder above it.
func (w *watcher) add(dir string) error {
	err := w.Add(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
		return nil
	}
	return fmt.Errorf("watch configuration folder %s: %w", dir, err)
}

const (
	quiet   = 50 * time.Millisecond // no event for so long: whoever writes is done
	patient = time.Second           // but no longer than this
)

// wait returns after the first change that counts, when the events have become quiet.
func (w *watcher) wait(ctx context.Context) error {
	var settle, limit <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-settle:
			return nil
		case <-limit:
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("watch configuration folder: the watch was closed")
			}
			if !w.counts(e.Name) || e.Op == fsnotify.Chmod {
				continue
			}
		case _, ok := <-w.Errors:
			if !ok {
				return errors.New("watch configuration folder: the watch was closed")
			}
			// Events were lost: look at everything.
		}
		settle = time.After(quiet)
		if limit == nil {
			limit = time.After(patient)
		}
	}
}

func (w *watcher) counts(name string) bool {
	return w.paths[name] || name == w.inside || strings.HasPrefix(name, w.inside+string(filepath.Separator))
}
