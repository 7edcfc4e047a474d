// Package file is configuration from a folder of YAML: one checked set of objects, watched, and the file of identity numbers.
//
// A folder is right as a whole or not at all. Load returns every problem there is; Watch reports it and the caller goes on
// with the last set that was right.
package file

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
)

// Set is a folder that is right: its documents, what they mean, and what should be said about them.
type Set struct {
	Dir string
	objects.Set
}

// Renumbered refuses a new set that would change the prefix of a living host of the running one (nil: nothing runs yet), or of
// one whose prefix is known from elsewhere, such as a journal, by name. The error is of type v1alpha1.Problems.
func Renumbered(running *Set, next Set, living map[string]netip.Prefix) error {
	if running == nil {
		return next.Keeps(nil, living)
	}
	return next.Keeps(&running.Set, living)
}

// Load reads every *.yaml and *.yml file of a folder. Folders below it and names that begin with a dot are left out. A folder
// that can be read and is wrong gives an error of type v1alpha1.Problems with all that is wrong and all warnings.
func Load(dir string) (Set, error) {
	f, err := readFolder(dir)
	if err != nil {
		return Set{}, err
	}
	return f.set()
}

// LoadCopy is Load for looking at a copy of a folder that may have none of its secrets, the seal key and passwords, or none that
// the caller may read: they are warnings then.
func LoadCopy(dir string) (Set, error) {
	f, err := readFolder(dir)
	if err != nil {
		return Set{}, err
	}
	return f.setWith(v1alpha1.Warning)
}

// tooLarge finds numbers that addresses have no room for: without a controller nobody tells other hosts who has such an address, and no
// journal says it after a restart.
func tooLarge(all []*v1alpha1.Identity, severity v1alpha1.Severity) (found v1alpha1.Problems) {
	for _, o := range all {
		if o.Spec.Number > v1alpha1.MaxIdentityBits {
			p := v1alpha1.ProblemAt(o, "spec.number", fmt.Sprintf("%d does not fit into an address", o.Spec.Number), "take one from 256 (0x100) to 65535; hexapod identity add does")
			p.Severity = severity
			found = append(found, p)
		}
	}
	return found
}

func (f folder) set() (Set, error) { return f.setWith(v1alpha1.Error) }

// setWith makes one checked set of a folder. secrets is how bad it is when one of them cannot be had, or what only a cluster keeps is there.
func (f folder) setWith(secrets v1alpha1.Severity) (Set, error) {
	var all []v1alpha1.Object
	var problems v1alpha1.Problems
	for _, text := range f.files {
		list, found := v1alpha1.Decode(filepath.Join(f.dir, text.name), text.data)
		all = append(all, list...)
		problems = append(problems, found...)
	}
	unread := len(problems.Errors()) > 0
	var checked objects.Set
	var found v1alpha1.Problems
	if unread { // arithmetic with half the numbers would only find what follows from that
		found = v1alpha1.Check(all)
	} else {
		checked, found = objects.Checked(all, f.dir, "", secrets)
		found = append(found, tooLarge(checked.Objects.Identities, secrets)...)
	}
	for _, p := range found {
		if p.File == "" && unread {
			continue // what is missing may stand in what could not be read
		}
		if p.File == "" {
			p.File = f.dir
		}
		problems = append(problems, p)
	}
	if problems = problems.Sort(); len(problems.Errors()) > 0 {
		return Set{}, problems
	}
	checked.Warnings = problems
	return Set{Dir: f.dir, Set: checked}, nil
}
