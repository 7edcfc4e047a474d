package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/identity"
)

// IdentitiesFile is the file that AddIdentity writes. Identities in other files count as well.
const IdentitiesFile = "identities.yaml"

// AddIdentity gives a number to a set of labels and writes it into the folder's identities.yaml. A set that has a number keeps
// it, and added is false. The folder must be right before. Two writers, also on two processes, never take one number: the
// folder is locked, read, written and unlocked.
func AddIdentity(dir string, set identity.Set) (o *v1alpha1.Identity, added bool, err error) {
	unlock, err := lock(dir)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	f, err := readFolder(dir)
	if err != nil {
		return nil, false, err
	}
	s, err := f.set()
	if err != nil {
		return nil, false, err
	}
	table := s.Model.Identities
	if n, ok := table.Number(set); ok {
		return object(s, n), false, nil
	}
	n, err := table.Next()
	if err != nil {
		return nil, false, fmt.Errorf("identity of %s: %w", set, err)
	}
	set = table.Rules().Reduce(set) // labels that do not count would only mislead whoever reads the file
	o = v1alpha1.NewIdentity(v1alpha1.IdentitySpec{
		Number: uint16(n), Namespace: set.Namespace, Labels: set.Labels, KeyVersion: table.Rules().Version(),
	})
	if problems := v1alpha1.Validate(o).Errors(); len(problems) > 0 {
		return nil, false, problems
	}
	text, err := f.withDocument(IdentitiesFile, identitiesHeader, o)
	if err != nil {
		return nil, false, err
	}
	return o, true, f.write(text)
}

func object(s Set, n identity.Number) *v1alpha1.Identity {
	for _, o := range s.Objects.Identities {
		if objects.Entry(o).Number == n {
			return o
		}
	}
	return nil
}

// lock holds the folder itself: a lock file would have to be left behind (flock(2) goes by inode).
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock configuration folder: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock configuration folder %s: %w", dir, err), f.Close())
	}
	return f.Close, nil // the lock goes with the last descriptor
}

const identitiesHeader = `# Identity numbers, the same file on all hosts. Written by: hexapod identity add
# Keep every entry: a number is never given to a second set. One that is out of use gets spec.retired.
`

// withDocument returns the folder's file of a name with one document more at its end; what people wrote into it stays.
func (f folder) withDocument(name, header string, o v1alpha1.Object) (fileText, error) {
	t := fileText{name, []byte(header)}
	for _, have := range f.files {
		if have.name == name {
			t.data = slices.Clone(have.data)
		}
	}
	document, err := v1alpha1.Encode(o)
	if err != nil {
		return fileText{}, err
	}
	if len(t.data) > 0 && !bytes.HasSuffix(t.data, []byte("\n")) {
		t.data = append(t.data, '\n')
	}
	if before, _ := v1alpha1.Decode(name, t.data); len(before) > 0 {
		t.data = append(t.data, "---\n"...)
	}
	t.data = append(t.data, document...)
	return t, nil
}

// replace writes a file so that after a power cut it is the old or the new one: the bytes are on disk before the name points
// to them, and the name is on disk before the caller goes on.
func replace(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".hexapod-*") // Load leaves out names with a dot
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
