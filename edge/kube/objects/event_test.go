package objects

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEventMessagesFit(t *testing.T) {
	for _, text := range []string{"", strings.Repeat("a", 1024), strings.Repeat("a", 1025), strings.Repeat("ä", 513), "a" + strings.Repeat("ä", 600), strings.Repeat("€", 400)} {
		got := EventMessage(text)
		switch {
		case len(text) <= 1024 && got != text:
			t.Errorf("a text of %d bytes is changed", len(text))
		case len(got) > 1024 || !utf8.ValidString(got) || len(text) > 1024 && !strings.HasSuffix(got, "…"):
			t.Errorf("%d bytes become %d: %q", len(text), len(got), got[len(got)-8:])
		}
	}
}
