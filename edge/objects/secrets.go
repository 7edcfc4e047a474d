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
	"hexapod.dev/model/gateway"
	"hexapod.dev/model/ipam"
)

// maxPassword is the longest key of a TCP MD5 signature (TCP_MD5SIG_MAXKEYLEN, linux/tcp.h), in bytes.
const maxPassword = 80

// Secrets are what stands in files that objects name: the key of the seal, the passwords of BGP sessions and the keys of gateways.
type Secrets struct {
	seal      *ipam.Seal
	gateways  map[string][]gateway.Key // by name of the Translation
	passwords map[string]string        // by the file they stand in
	sum       [sha256.Size]byte        // tells these secrets from others
}

// Sum tells one state of the secrets from another without showing them.
func (s Secrets) Sum() []byte { return slices.Clone(s.sum[:]) }

// readSecrets reads what the objects of a set name in a folder, and reports what cannot be had. Of gateways it is what one host needs; empty: any.
func readSecrets(dir string, s v1alpha1.Set, host string) (Secrets, v1alpha1.Problems) {
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
	gateways, unknown := readGatewayKeys(dir, s, host)
	out.gateways = gateways
	for _, t := range s.Translations {
		fmt.Fprintf(h, "%q\n", t.Spec.KeyFile)
		for _, key := range gateways[t.ObjectName()] {
			fmt.Fprintf(h, "%q\n", []byte(key)) // which does not hide itself
		}
	}
	out.sum = [sha256.Size]byte(h.Sum(nil))
	return out, slices.Concat(problems, hidden, unknown)
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

// noKey is the line of a key file that stands for words without signature.
const noKey = "none"

// readGatewayKeys reads the key files of Translations: one key in a line, or two while they are changed.
func readGatewayKeys(dir string, s v1alpha1.Set, host string) (map[string][]gateway.Key, v1alpha1.Problems) {
	var problems v1alpha1.Problems
	out := map[string][]gateway.Key{}
	h, known := s.Host(host)
	for _, t := range s.Translations {
		name := t.Spec.KeyFile
		if name == "" || known && !t.Translates(h) {
			continue
		}
		keys, err := gatewayKeys(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			problems = append(problems, v1alpha1.ProblemAt(t, "spec.keyFile", err.Error(),
				fmt.Sprintf("write %d hexadecimal digits into it (openssl rand -hex %d), the same on all hosts of the Translation; docs/nat64.md tells how keys are changed", 2*gateway.KeyLen, gateway.KeyLen)))
			continue
		}
		out[t.ObjectName()] = keys
	}
	return out, problems
}

func gatewayKeys(path string) (keys []gateway.Key, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	lines := strings.Fields(string(data))
	if len(lines) < 1 || len(lines) > 2 {
		return nil, fmt.Errorf("%s holds %d lines, not one key, or two while they are changed", path, len(lines))
	}
	if len(lines) == 2 && lines[0] == lines[1] {
		return nil, fmt.Errorf("%s holds one key twice", path)
	}
	for i, line := range lines {
		key, err := hex.DecodeString(line)
		switch {
		case line == noKey:
			keys = append(keys, gateway.Key{})
		case err != nil || len(key) != gateway.KeyLen: // the text of the error would show a part of the key
			return nil, fmt.Errorf("%s: line %d is not %d hexadecimal digits, nor %s", path, i+1, 2*gateway.KeyLen, noKey)
		default:
			keys = append(keys, key)
		}
	}
	return keys, nil
}
