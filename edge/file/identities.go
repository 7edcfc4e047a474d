package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	defer unlock()
	s, err := Load(dir)
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
	return o, true, appendIdentity(filepath.Join(dir, IdentitiesFile), o)
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

// appendIdentity writes the file anew with one document more; what people wrote into it stays.
func appendIdentity(path string, o *v1alpha1.Identity) error {
	info, err := os.Lstat(path)
	mode := fs.FileMode(0o644)
	var text []byte
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = []byte(identitiesHeader)
	case err != nil:
		return fmt.Errorf("write identities: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("write identities: %s is a link or not a file; add %s where it comes from", path, o.ObjectName())
	default:
		mode = info.Mode().Perm()
		if text, err = os.ReadFile(path); err != nil {
			return fmt.Errorf("write identities: %w", err)
		}
	}
	before, _ := v1alpha1.Decode(path, text)
	document, err := v1alpha1.Encode(o)
	if err != nil {
		return err
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	if len(before) > 0 {
		text = append(text, "---\n"...)
	}
	text = append(text, document...)
	after, problems := v1alpha1.Decode(path, text)
	if errs := problems.Errors(); len(errs) > 0 || len(after) != len(before)+1 {
		return fmt.Errorf("write identities: %s cannot take another document at its end: %w", path, errs)
	}
	return replace(path, text, mode)
}

// replace writes a file so that after a power cut it is the old or the new one: the bytes are on disk before the name points
// to them, and the name is on disk before the caller goes on.
func replace(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".identities-*") // Load leaves out names with a dot
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
