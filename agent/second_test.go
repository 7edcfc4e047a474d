package agent

import (
	"net/netip"
	"testing"
)

// TestRFC6052_2_2_IPv4InTheBook: what the book of IPv4 addresses writes down reads back as what it was.
func TestRFC6052_2_2_IPv4InTheBook(t *testing.T) {
	v4 := netip.MustParseAddr("198.51.100.7")
	if got := embed(v4); got != netip.MustParseAddr("64:ff9b::198.51.100.7") {
		t.Errorf("written as %s", got)
	}
	if got := extract(embed(v4)); got != v4 {
		t.Errorf("read back as %s", got)
	}
	l, err := layout4(netip.MustParsePrefix("198.51.100.0/24"))
	if err != nil || l.Prefix() != netip.MustParsePrefix("64:ff9b::c633:6400/120") {
		t.Errorf("layout of %s, %v", l.Prefix(), err)
	}
	if l, err := layout4(netip.Prefix{}); err != nil || l.Prefix().IsValid() {
		t.Errorf("without IPv4: %s, %v", l.Prefix(), err)
	}
}
