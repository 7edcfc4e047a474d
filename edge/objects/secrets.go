package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/ipam"
)

// maxPassword is the longest key of a TCP MD5 signature (TCP_MD5SIG_MAXKEYLEN, linux/tcp.h), in bytes.
const maxPassword = 80

// Secrets are what stands in files that objects name: the key of the seal and the passwords of BGP sessions.
type Secrets struct {
	seal      *ipam.Seal
	passwords map[string]string // by the file they stand in
	sum       [sha256.Size]byte // tells these secrets from others
}

// Sum tells one state of the secrets from another without showing them.
func (s Secrets) Sum() []byte { return slices.Clone(s.sum[:]) }

// readSecrets reads what the objects of a set name in a folder, and reports what cannot be had.
func readSecrets(dir string, s v1alpha1.Set) (Secrets, v1alpha1.Problems) {
	var out Secrets
	var problems v1alpha1.Problems
	h := sha256.New()
	seal, key, err := readSeal(dir, s.Plan)
	if err != nil {
		problems = append(problems, v1alpha1.ProblemAt(s.Plan, "spec.sealKeyFile", err.Error(), "write 32 hexadecimal digits into it, the same on all hosts"))
	}
	h.Write(key)
	out.seal = seal
	passwords, hidden := readPasswords(dir, s.BGPPeers)
	out.passwords = passwords
	for _, b := range s.BGPPeers {
		fmt.Fprintf(h, "%q %q\n", b.Spec.PasswordFile, passwords[b.Spec.PasswordFile])
	}
	out.sum = [sha256.Size]byte(h.Sum(nil))
	return out, append(problems, hidden...)
}

// readSeal reads the key of a sealed plan, hexadecimal digits in one line.
func readSeal(dir string, p *v1alpha1.AddressPlan) (*ipam.Seal, []byte, error) {
	if p.Spec.HostPart != v1alpha1.HostPartSealed {
		return nil, nil, nil
	}
	path := filepath.Join(dir, filepath.FromSlash(p.Spec.SealKeyFile))
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is not there", path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the seal key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil {
		// The text of the error would show a part of the key.
		return nil, nil, fmt.Errorf("%s holds something else than hexadecimal digits", path)
	}
	seal, err := ipam.NewSeal(key)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return seal, key, nil
}

// readPasswords reads the password files of peers: one line each, blanks around it left out.
func readPasswords(dir string, peers []*v1alpha1.BGPPeer) (map[string]string, v1alpha1.Problems) {
	var problems v1alpha1.Problems
	out := map[string]string{}
	for _, b := range peers {
		name := b.Spec.PasswordFile
		if name == "" {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		data, err := os.ReadFile(path)
		password := strings.TrimSpace(string(data))
		what := ""
		switch {
		case err != nil:
			what = fmt.Sprintf("cannot be read: %v", err)
		case password == "" || len(password) > maxPassword || strings.ContainsAny(password, "\n\x00"):
			what = fmt.Sprintf("%s holds something else than one line of 1 to %d characters", path, maxPassword)
		}
		if what != "" {
			problems = append(problems, v1alpha1.ProblemAt(b, "spec.passwordFile", what, "write the key that the peer has, in one line"))
			continue
		}
		out[name] = password
	}
	return out, problems
}
