package file

import (
	"strings"
	"testing"
)

// The keys of gateways are one line, or two while they are changed; what is wrong with them is said without showing them.
func TestGatewayKeys(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"plan.yaml": planYAML + host("h1", "1") + host("h2", "2") + "---\napiVersion: hexapod.dev/v1alpha1\nkind: Translation\nmetadata: {name: t}\n" +
		"spec: {hosts: [h1, h2], pool: [45.66.0.0/30], announce: true, keyFile: gateways.key}\n"})
	one, two := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	sums := map[string]string{}
	for _, c := range []struct{ text, keys, wrong string }{
		{one + "\n", "[(hidden)]", ""},
		{two, "[(hidden)]", ""},
		{one + "\n" + two + "\n", "[(hidden) (hidden)]", ""},
		{"none\n" + one, "[none (hidden)]", ""},
		{"none\n", "[none]", ""},
		{"", "", "holds 0 lines, not one key, or two while they are changed"},
		{one + "\n" + two + "\nnone", "", "holds 3 lines"},
		{one + "\n" + one, "", "holds one key twice"},
		{one[2:], "", "line 1 is not 64 hexadecimal digits, nor none"},
		{one + "\n" + "zz" + two[2:], "", "line 2 is not 64 hexadecimal digits, nor none"},
	} {
		write(t, dir, map[string]string{"gateways.key": c.text})
		s, err := Load(dir)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), "Translation t: spec.keyFile: ") || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "a1a1") || strings.Contains(err.Error(), "b2b2") {
				t.Errorf("%q: %v", c.text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		config, err := s.Config("h1")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range config.Translation.Group.Keys {
			got = append(got, k.String())
		}
		if text := "[" + strings.Join(got, " ") + "]"; text != c.keys {
			t.Errorf("%q: %s, want %s", c.text, text, c.keys)
		}
		if before, twice := sums[string(s.Secrets.Sum())]; twice {
			t.Errorf("a change of %q to %q is not seen", before, c.text)
		}
		sums[string(s.Secrets.Sum())] = c.text
	}
}
