// Package crashfs is a folder whose disk forgets what was not synced and tears what was being written, for tests.
//
// It keeps two pictures: what a running system sees, and what is on the platter. A power cut loses the first.
package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
)

// ErrCut is the answer to everything after the power was cut.
var ErrCut = errors.New("the power is off")

// Disk is a folder in memory; it implements journal.FS through the methods of FS.
type Disk struct {
	mu      sync.Mutex
	random  *rand.Rand
	names   map[string]*node // as the running system sees them
	durable map[string]*node // as they are on disk
	renames []func(map[string]*node)
	locked  bool

	cutIn int // operations until the power is cut; below 0: never
	off   bool

	space     int64 // bytes that still fit; below 0: no end
	failSyncs int   // that many syncs from now fail and drop what they should have written
	failDirs  int   // the same for SyncDir
}

// node is one file. The first synced bytes are on the platter.
type node struct {
	data   []byte
	synced int
}

// New returns an empty disk whose accidents are drawn from random.
func New(random *rand.Rand) *Disk {
	return &Disk{random: random, names: map[string]*node{}, durable: map[string]*node{}, cutIn: -1, space: -1}
}

// CutAfter cuts the power during the n-th operation from now that changes something.
func (d *Disk) CutAfter(n int) { d.mu.Lock(); defer d.mu.Unlock(); d.cutIn = n }

// Off reports whether the power was cut.
func (d *Disk) Off() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.off }

// SetSpace leaves room for n more bytes; below 0: no end.
func (d *Disk) SetSpace(n int64) { d.mu.Lock(); defer d.mu.Unlock(); d.space = n }

// FailSyncs makes the next n syncs of files fail and lose the bytes they were for, as after a write error: the running system
// still sees them and a further sync says all is well.
func (d *Disk) FailSyncs(n int) { d.mu.Lock(); defer d.mu.Unlock(); d.failSyncs = n }

// FailDirSyncs makes the next n syncs of the folder fail.
func (d *Disk) FailDirSyncs(n int) { d.mu.Lock(); defer d.mu.Unlock(); d.failDirs = n }

// Reboot returns the disk as a machine finds it after the power was off. What was not synced is kept in part, torn, or gone.
func (d *Disk) Reboot() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Names reach the disk in order, so what is there is a beginning of what was done.
	for _, rename := range d.renames[:d.random.IntN(len(d.renames)+1)] {
		rename(d.durable)
	}
	next := New(d.random)
	for name, n := range d.durable {
		data := d.tear(n)
		kept := &node{data, len(data)}
		next.names[name], next.durable[name] = kept, kept
	}
	return next
}

const sector = 512

// tear returns what is left of a file: the synced bytes, then something.
func (d *Disk) tear(n *node) []byte {
	keep := n.synced + d.random.IntN(len(n.data)-n.synced+1)
	data := append([]byte(nil), n.data[:keep]...)
	loose := data[n.synced:]
	switch d.random.IntN(4) {
	case 0: // the size arrived, the bytes did not
		clear(loose)
	case 1: // one sector did not arrive
		if len(loose) > 0 {
			at := d.random.IntN(len(loose))
			clear(loose[at:min(at+sector, len(loose))])
		}
	case 2: // noise at the end
		for i := max(0, len(loose)-sector); i < len(loose); i++ {
			loose[i] = byte(d.random.Uint32())
		}
	}
	return data
}

// step counts an operation that changes something. cut is true for the one the power fails in.
func (d *Disk) step() (cut bool, err error) {
	if d.off {
		return false, ErrCut
	}
	if d.cutIn > 0 {
		d.cutIn--
	}
	d.off = d.cutIn == 0
	return d.off, nil
}

// take takes up to n bytes of room and returns how many there were.
func (d *Disk) take(n int) int {
	if d.space < 0 {
		return n
	}
	n = int(min(int64(n), d.space))
	d.space -= int64(n)
	return n
}

// Damage changes one byte of a file behind everybody's back, on the platter too.
func (d *Disk) Damage(name string, at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	if !ok || at >= int64(len(n.data)) {
		return fmt.Errorf("damage %s at byte %d: %w", name, at, fs.ErrNotExist)
	}
	n.data[at] ^= 0x55
	return nil
}

// change does something to the names, now for the running system and some time later on disk.
func (d *Disk) change(f func(map[string]*node)) error {
	cut, err := d.step()
	if err != nil {
		return err
	}
	f(d.names)
	d.renames = append(d.renames, f)
	if cut {
		return ErrCut
	}
	return nil
}

type lock struct{ disk *Disk }

func (l lock) Close() error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	l.disk.locked = false
	return nil
}

var errHeld = errors.New("the folder is held by another process")

// Lock lets one writer in.
func (d *Disk) Lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, errHeld
	}
	d.locked = true
	return lock{d}, nil
}

var errNoSpace = fmt.Errorf("simulated: %w", syscall.ENOSPC)
