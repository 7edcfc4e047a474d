package ipam

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var owner = Owner{Container: "c0ffee", Interface: "eth0", Namespace: "shop", Name: "cart-7", UID: "1b4e", NetNS: "/run/netns/x", Network: "hexapod"}

func records() []Record {
	a := netip.MustParseAddr("2001:db8:a000:c12:1a7:38b:8d98:3")
	return []Record{
		{Kind: RecordAllocate, Time: now, Addr: a, Identity: 0x1a7, Position: 1 << 41, Owner: owner.Pack()},
		{Kind: RecordAllocate, Time: now, Addr: a, Fixed: true, Restated: true, Owner: Owner{}.Pack()},
		{Kind: RecordRetire, Time: now + 1, Addr: a},
		{Kind: RecordMark, Time: now, Position: 1<<64 - 1},
		{Kind: RecordBoot, Time: now, Boot: Boot{Machine: [16]byte{1}, ID: [16]byte{2}, Host: "r1h2", Prefix: netip.MustParsePrefix("2001:db8:a000:c12::/64")}},
		{Kind: RecordClock, Time: now},
	}
}

var compareRecords = cmp.Comparer(func(a, b Record) bool { return a == b })

func TestRecordsComeBack(t *testing.T) {
	for _, want := range records() {
		b := want.Append(nil)
		got, err := ParseRecord(b)
		if err != nil {
			t.Errorf("%s: %v", want.Kind, err)
			continue
		}
		if d := cmp.Diff(want, got, compareRecords); d != "" {
			t.Errorf("%s (-want +got):\n%s", want.Kind, d)
		}
		for n := range b {
			if got, err := ParseRecord(b[:n]); err == nil && want.Kind != RecordBoot { // the host name is what is left
				t.Errorf("%s: %d of %d bytes read as %+v", want.Kind, n, len(b), got)
			}
		}
		if _, err := ParseRecord(append(b, 0)); err == nil && want.Kind != RecordBoot {
			t.Errorf("%s: a byte too many was accepted", want.Kind)
		}
	}
}

func TestOwnerComesBack(t *testing.T) {
	long := Owner{Container: strings.Repeat("x", 127), Interface: strings.Repeat("y", 128), NetNS: strings.Repeat("z", 20_000)}
	for _, want := range []Owner{owner, {}, long} {
		p := want.Pack()
		if got, err := p.Unpack(); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		if p.Key() != PackKey(want.Container, want.Interface) {
			t.Errorf("key of %+v: got %q", want, p.Key())
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range records() {
		f.Add(r.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		if again := r.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x read as %+v, written as %x", b, r, again)
		}
		if r.Kind == RecordAllocate {
			if o, err := r.Owner.Unpack(); err != nil || o.Pack() != r.Owner {
				t.Errorf("owner %q: %+v, %v", r.Owner, o, err)
			}
		}
	})
}

// Journals are kept for ever: what version 1 wrote must be read by all that follow.
func TestRecordsOnDiskStayReadable(t *testing.T) {
	for i, want := range []string{
		"0100c089911c20010db8a0000c1201a7038b8d98000301a78080808080400663306666656504657468300473686f7006636172742d3704316234650c2f72756e2f6e65746e732f780768657861706f64",
		"0103c089911c20010db8a0000c1201a7038b8d98000300000000000000000000",
		"0200c189911c20010db8a0000c1201a7038b8d980003",
		"0300c089911cffffffffffffffffff01",
		"0400c089911c01000000000000000000000000000000020000000000000000000000000000000000000000000000000000000000000020010db8a0000c1200000000000000004072316832",
		"0500c089911c",
	} {
		r := records()[i]
		if got := hex.EncodeToString(r.Append(nil)); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", r.Kind, got, want)
		}
	}
}
