package translator

import (
	"os"
	"path/filepath"
	"slices"

	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/linux/tun"
	"hexapod.dev/model/desired"
)

// openFiles opens what a new translator works with, or takes what the one before had.
func (t *Translator) openFiles(had []child.Named) (files []child.Named, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.File.Close()
			}
		}
	}()
	if err := os.MkdirAll(t.folder(), 0o755); err != nil {
		return nil, err
	}
	open := func(name string, open func() (*os.File, error)) {
		if err != nil {
			return
		}
		if i := slices.IndexFunc(had, func(f child.Named) bool { return f.Name == name }); i >= 0 && name != nat64.FileGrants { // the log is read from the begin of its segment; memory of the fast path is opened anew
			files = append(files, had[i])
			return
		}
		var f *os.File
		if f, err = open(); err == nil {
			files = append(files, child.Named{Name: name, File: f})
		}
	}
	open(nat64.FileTUN, func() (*os.File, error) { return tun.OpenHeaded(t.options.NS, desired.TranslationLink) })
	open(nat64.FileTable, func() (*os.File, error) {
		return os.OpenFile(filepath.Join(t.options.RunDir, "nat64.table"), os.O_RDWR|os.O_CREATE, 0o600)
	})
	open(nat64.FileGrants, t.openGrants)
	if err == nil {
		files = append(files, t.hangFastPath()...)
	}
	if h, missing := t.hostSide(); err == nil && missing == nil { // without it a pool does
		var bound *os.File
		if bound, err = h.Bound(); err == nil {
			files = append(files, child.Named{Name: nat64.FileBound, File: bound})
		}
	}
	return files, err
}
