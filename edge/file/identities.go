package file

import (
	"bytes"
	"fmt"
	"slices"

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
	err = change(dir, func(f folder, s Set) error {
		if n, ok := s.Model.Identities.Number(set); ok {
			o = object(s, n)
			return nil
		}
		if o, err = newIdentity(s.Model.Identities, set); err != nil {
			return err
		}
		text, err := f.withDocument(IdentitiesFile, identitiesHeader, o)
		if err != nil {
			return err
		}
		added = true
		return f.write(text)
	})
	return o, added, err
}

// newIdentity makes the Identity that AddIdentity writes.
func newIdentity(table *identity.Table, set identity.Set) (*v1alpha1.Identity, error) {
	n, err := table.Next()
	if err != nil {
		return nil, fmt.Errorf("identity of %s: %w", set, err)
	}
	set = table.Rules().Reduce(set) // labels that do not count would only mislead whoever reads the file
	o := v1alpha1.NewIdentity(v1alpha1.IdentitySpec{
		Number: uint32(n), Namespace: set.Namespace, Labels: set.Labels, KeyVersion: table.Rules().Version(),
	})
	if problems := v1alpha1.Validate(o).Errors(); len(problems) > 0 {
		return nil, problems
	}
	return o, nil
}

func object(s Set, n identity.Number) *v1alpha1.Identity {
	for _, o := range s.Objects.Identities {
		if objects.Entry(o).Number == n {
			return o
		}
	}
	return nil
}

const identitiesHeader = `# Identity numbers, the same file on all hosts. Written by: hexapod identity add
# Keep every entry: a number is never given to a second set. One that is out of use: hexapod identity retire
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
