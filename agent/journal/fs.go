// Package journal keeps records for ever: append-only, checksummed, on disk before anybody is answered.
//
// A journal is a folder of segments. Each segment begins with a checkpoint, the whole state its owner needs to go on, so that a
// start reads one segment, and any segment before it may be moved away. Records are opaque bytes here.
package journal

import "io"

// FS is the folder a journal lies in, and all it asks of a file system. Names have no slashes. What it did not promise by Sync or
// SyncDir may be lost or torn when the power goes.
type FS interface {
	// List returns the names of all files, in any order.
	List() ([]string, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Create makes a file for reading and writing; it fails when the name is taken.
	Create(name string) (File, error)
	// Rename gives a file another name and replaces what had it.
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the names durable.
	SyncDir() error
	// Lock lets one writer in; the lock ends with Close or with the process.
	Lock() (io.Closer, error)
}

// File is an open file. Sync makes its bytes durable.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}
