package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/api/v1alpha1"
)

// maxPassword is the longest key of a TCP MD5 signature (TCP_MD5SIG_MAXKEYLEN, linux/tcp.h), in bytes.
const maxPassword = 80

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
