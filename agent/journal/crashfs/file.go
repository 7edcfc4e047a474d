package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"hexapod.dev/agent/journal"
)

var _ journal.FS = (*Disk)(nil)

// List returns the names of all files.
func (d *Disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, ErrCut
	}
	return slices.Collect(maps.Keys(d.names)), nil
}

// Open opens a file for reading.
func (d *Disk) Open(name string) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	switch {
	case d.off:
		return nil, ErrCut
	case !ok:
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return &file{d, n, true}, nil
}

// Create makes a file.
func (d *Disk) Create(name string) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; ok {
		return nil, fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	if d.space == 0 {
		return nil, errNoSpace
	}
	n := &node{}
	if err := d.change(func(names map[string]*node) { names[name] = n }); err != nil {
		return nil, err
	}
	return &file{d, n, false}, nil
}

// Rename gives a file another name.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[from]
	if !ok {
		return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
	}
	return d.change(func(names map[string]*node) { delete(names, from); names[to] = n })
}

// Remove removes a file; one that is not there is removed already.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.names[name]; ok && d.space >= 0 {
		d.space += int64(len(n.data))
	}
	return d.change(func(names map[string]*node) { delete(names, name) })
}

// SyncDir makes the names durable.
func (d *Disk) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	cut, err := d.step()
	if err != nil {
		return err
	}
	if d.failDirs > 0 {
		d.failDirs--
		return errIO
	}
	if cut && d.random.IntN(2) == 0 {
		return ErrCut
	}
	for _, f := range d.renames {
		f(d.durable)
	}
	d.renames = nil
	if cut { // it was done, and nobody heard of it
		return ErrCut
	}
	return nil
}

var (
	errIO        = fmt.Errorf("simulated: %w", syscall.EIO)
	errRewrite   = errors.New("simulated: a synced byte was written again")
	errReadOnly  = errors.New("simulated: the file is open for reading")
	errTruncated = errors.New("simulated: synced bytes were cut off")
)

type file struct {
	disk     *Disk
	node     *node
	readOnly bool
}

func (f *file) ReadAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return 0, ErrCut
	}
	if at >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes behind the synced bytes; a journal has no business before them.
func (f *file) WriteAt(b []byte, at int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	cut, err := d.step()
	switch {
	case err != nil:
		return 0, err
	case f.readOnly:
		return 0, errReadOnly
	case at < int64(f.node.synced):
		return 0, errRewrite
	}
	n := len(b)
	if cut {
		n = d.random.IntN(n + 1)
	}
	n = d.take(n)
	if short := int(at) + n - len(f.node.data); short > 0 {
		f.node.data = append(f.node.data, make([]byte, short)...)
	}
	copy(f.node.data[at:], b[:n])
	switch {
	case cut:
		return n, ErrCut
	case n < len(b):
		return n, errNoSpace
	}
	return n, nil
}

func (f *file) Truncate(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	cut, err := d.step()
	switch {
	case err != nil:
		return err
	case size < int64(f.node.synced):
		return errTruncated
	case size < int64(len(f.node.data)):
		if d.space >= 0 {
			d.space += int64(len(f.node.data)) - size
		}
		f.node.data = f.node.data[:size]
	}
	if cut {
		return ErrCut
	}
	return nil
}

func (f *file) Sync() error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	cut, err := d.step()
	if err != nil {
		return err
	}
	if d.failSyncs > 0 {
		d.failSyncs--
		// The running system keeps the bytes and thinks they are written; the platter never gets them.
		lost := &node{data: append([]byte(nil), f.node.data...), synced: f.node.synced}
		clear(lost.data[lost.synced:])
		f.node.synced = len(f.node.data)
		for name, n := range d.durable {
			if n == f.node {
				d.durable[name] = lost
			}
		}
		return errIO
	}
	if cut && d.random.IntN(2) == 0 {
		return ErrCut
	}
	f.node.synced = len(f.node.data)
	if cut { // it was done, and nobody heard of it
		return ErrCut
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return 0, ErrCut
	}
	return int64(len(f.node.data)), nil
}

func (f *file) Close() error { return nil }
