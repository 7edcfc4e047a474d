package file

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
)

// folder is the text of all files of a folder at one moment.
type folder struct {
	dir   string
	files []fileText // by name
}

type fileText struct {
	name string
	data []byte
}

// sum tells one state of a folder from another. more is what belongs to the state and lies in no YAML file.
func (f folder) sum(more []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(more)
	for _, t := range f.files {
		fmt.Fprintf(h, "%q %d\n", t.name, len(t.data))
		h.Write(t.data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// attempts to read a folder while somebody writes into it.
const attempts = 5

// readFolder reads all files as they were at one moment: a folder that changed while it was read is read again.
func readFolder(dir string) (folder, error) {
	var err error
	for range attempts {
		var f folder
		var whole bool
		if f, whole, err = readOnce(dir); whole {
			return f, nil
		}
	}
	if err != nil {
		return folder{}, err // it was no change: it stays
	}
	return folder{}, fmt.Errorf("read configuration folder %s: it changed %d times while it was read; try again when nobody writes to it", dir, attempts)
}

// readOnce lists the folder, reads the files of the list, and lists it again. whole says that the lists are equal and that what
// was read is what was listed, so a folder that changed there and back is not mixed either.
func readOnce(dir string) (f folder, whole bool, err error) {
	before, err := list(dir)
	if err != nil {
		return folder{}, false, err
	}
	f, whole = folder{dir: dir}, true
	for _, e := range before {
		data, info, err := readFile(filepath.Join(dir, e.name))
		if err != nil {
			return folder{}, false, err
		}
		whole = whole && e.same(entry{e.name, info})
		f.files = append(f.files, fileText{e.name, data})
	}
	after, err := list(dir)
	if err != nil {
		return folder{}, false, err
	}
	return f, whole && slices.EqualFunc(before, after, entry.same), nil
}

// entry is a file as it is when its links are followed.
type entry struct {
	name string
	info os.FileInfo
}

func (e entry) same(o entry) bool {
	return e.name == o.name && os.SameFile(e.info, o.info) && e.info.Size() == o.info.Size() && e.info.ModTime().Equal(o.info.ModTime())
}

func list(dir string) ([]entry, error) {
	names, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read configuration folder: %w; make it, or name another with --config", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration folder: %w", err)
	}
	var out []entry
	for _, n := range names {
		if strings.HasPrefix(n.Name(), ".") || !isYAML(n.Name()) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, n.Name()))
		if err != nil {
			return nil, fmt.Errorf("read configuration folder %s: %w", dir, err)
		}
		switch {
		case info.Mode().IsRegular():
			out = append(out, entry{n.Name(), info})
		case !info.IsDir():
			return nil, fmt.Errorf("read configuration folder %s: %s is not a file; take it out", dir, n.Name())
		}
	}
	return out, nil
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// readFile reads one byte more than Decode accepts, so that Decode is the one to say what is too much.
func readFile(path string) ([]byte, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, v1alpha1.MaxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, info, nil
}
