package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plan.yaml", planYAML+host("h1", "1")+"---\napiVersion: hexapod.dev/v1alpha1\nkind: BGPPeer\nmetadata: {name: tor}\nspec: {interface: eth0, passwordFile: tor.key}\n")
	for text, good := range map[string]bool{"open sesame\n": true, strings.Repeat("x", 80): true, strings.Repeat("x", 81): false, "": false, "two\nlines": false} {
		write("tor.key", text)
		s, err := Load(dir)
		if (err == nil) != good {
			t.Errorf("%q: %v, want good %t", text, err, good)
			continue
		}
		if err != nil {
			if !strings.Contains(err.Error(), "BGPPeer tor: spec.passwordFile: ") || strings.Contains(err.Error(), "xxx") || strings.Contains(err.Error(), "lines\n") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		sp, ok, err := s.Speaker("h1")
		if err != nil || !ok || sp.Peers[0].Password != strings.TrimSpace(text) {
			t.Errorf("%q: %v %t %v", text, sp, ok, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "tor.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "write the key that the peer has") {
		t.Errorf("without its file: %v", err)
	}
}
