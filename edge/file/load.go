// Package file is configuration from a folder of YAML: one checked set of objects, watched, and the file of identity numbers.
//
// A folder is right as a whole or not at all. Load returns every problem there is; Watch reports it and the caller goes on
// with the last set that was right.
package file

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/announce"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/ipam"
)

// Set is a folder that is right: its documents, what they mean, and what should be said about them.
type Set struct {
	Dir      string
	Objects  v1alpha1.Set
	Model    objects.Model
	Seal     *ipam.Seal // of a sealed fabric; nil where host parts are readable
	Warnings v1alpha1.Problems

	key       [sha256.Size]byte // tells one seal key from another
	passwords map[string]string // of BGP sessions, by the file they stand in
}

// Config returns what the set says, seen from one host.
func (s Set) Config(host string) (desired.Config, error) {
	return objects.Config(s.Objects, s.Model, host)
}

// Speaker returns with whom a host speaks BGP and as whom; ok is false when it speaks with nobody.
func (s Set) Speaker(host string) (sp announce.Speaker, ok bool, err error) {
	return objects.Speaker(s.Objects, s.Model, host, s.passwords)
}

// Renumbered refuses a new set that would change the prefix of a living host of the running one (nil: nothing runs yet), or of
// one whose prefix is known from elsewhere, such as a journal, by name. The error is of type v1alpha1.Problems.
func Renumbered(running *Set, next Set, living map[string]netip.Prefix) error {
	var before *objects.Model
	if running != nil {
		before = &running.Model
	}
	if found := objects.Renumbered(before, next.Model, next.Objects, living).Errors(); len(found) > 0 {
		return found
	}
	return nil
}

// Resting judges by the clock what Load cannot: a living host whose number still rests is an error, a host that was retired later
// than now a warning.
func (s Set) Resting(now time.Time) v1alpha1.Problems {
	return objects.Resting(s.Model, s.Objects, ipam.FromUnix(now.Unix()))
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

func (f folder) set() (Set, error) { return f.setWith(v1alpha1.Error) }

// setWith makes one checked set of a folder. secrets is how bad it is when one of them cannot be had.
func (f folder) setWith(secrets v1alpha1.Severity) (Set, error) {
	var all []v1alpha1.Object
	var problems v1alpha1.Problems
	for _, text := range f.files {
		list, found := v1alpha1.Decode(filepath.Join(f.dir, text.name), text.data)
		all = append(all, list...)
		problems = append(problems, found...)
	}
	unread := len(problems.Errors()) > 0
	for _, p := range v1alpha1.Check(all) {
		if p.File == "" && unread {
			continue // what is missing may stand in what could not be read
		}
		if p.File == "" {
			p.File = f.dir
		}
		problems = append(problems, p)
	}
	s := Set{Dir: f.dir, Objects: v1alpha1.Group(all)}
	if len(problems.Errors()) > 0 {
		return Set{}, problems.Sort() // arithmetic with wrong numbers would only find what follows from them
	}
	model, found := objects.For(s.Objects)
	problems = append(problems, found...)
	seal, key, err := readSeal(f.dir, s.Objects.Plan)
	if err != nil {
		p := v1alpha1.ProblemAt(s.Objects.Plan, "spec.sealKeyFile", err.Error(), "write 32 hexadecimal digits into it, the same on all hosts")
		p.Severity = secrets
		problems = append(problems, p)
	}
	passwords, hidden := readPasswords(f.dir, s.Objects.BGPPeers)
	for _, p := range hidden {
		p.Severity = secrets
		problems = append(problems, p)
	}
	if problems = problems.Sort(); len(problems.Errors()) > 0 {
		return Set{}, problems
	}
	s.passwords = passwords
	s.Model, s.Seal, s.Warnings, s.key = model, seal, problems, key
	return s, nil
}

// readSeal reads the key of a sealed plan, hexadecimal digits in one line, and returns its sum as well.
func readSeal(dir string, p *v1alpha1.AddressPlan) (seal *ipam.Seal, sum [sha256.Size]byte, err error) {
	if p.Spec.HostPart != v1alpha1.HostPartSealed {
		return nil, sum, nil
	}
	path := filepath.Join(dir, filepath.FromSlash(p.Spec.SealKeyFile))
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sum, fmt.Errorf("%s is not there", path)
	}
	if err != nil {
		return nil, sum, fmt.Errorf("read the seal key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil {
		// The text of the error would show a part of the key.
		return nil, sum, fmt.Errorf("%s holds something else than hexadecimal digits", path)
	}
	if seal, err = ipam.NewSeal(key); err != nil {
		return nil, sum, fmt.Errorf("%s: %w", path, err)
	}
	return seal, sha256.Sum256(key), nil
}
