package identity

import (
	"errors"
	"testing"
)

func set(namespace, app string) Set {
	return Set{Namespace: namespace, Labels: map[string]string{"app": app}}
}

func TestTable(t *testing.T) {
	table, err := NewTable(rules(t), []Entry{
		{Number: 0x103, Set: set("shop", "web")},
		{Number: 0x101, Set: set("shop", "web")},
		{Number: 0x100, Set: set("shop", "web"), Retired: true},
		{Number: 0x102, Set: set("shop", "db"), Retired: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	replica := set("shop", "web")
	replica.Labels["pod-template-hash"] = "5d4f"
	if n, ok := table.Number(replica); n != 0x101 || !ok {
		t.Errorf("web has %v, %v, want the lowest living number, 0x101", n, ok)
	}
	if n, ok := table.Number(set("shop", "db")); n != Unknown || ok {
		t.Errorf("a retired number is given to new endpoints: %v", n)
	}
	if e, ok := table.Entry(0x102); !ok || !e.Retired {
		t.Errorf("a retired number is not explained: %v, %v", e, ok)
	}
	if n, err := table.Next(); n != 0x104 || err != nil {
		t.Errorf("next is %v, %v, want 0x104", n, err)
	}
}

func TestTableRefuses(t *testing.T) {
	for name, entries := range map[string][]Entry{
		"a reserved number":        {{Number: FirstWorkload - 1, Set: set("a", "b")}},
		"two owners of one number": {{Number: 0x100, Set: set("a", "b")}, {Number: 0x100, Set: set("a", "c")}},
	} {
		if _, err := NewTable(rules(t), entries); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestNextAtTheTop(t *testing.T) {
	entries := []Entry{{Number: LastWorkload, Retired: true}}
	for n := FirstWorkload; n < LastWorkload; n++ {
		if n != 0x1234 {
			entries = append(entries, Entry{Number: n, Retired: true})
		}
	}
	table, err := NewTable(rules(t), entries)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := table.Next(); n != 0x1234 || err != nil {
		t.Errorf("next is %v, %v, want the hole 0x1234", n, err)
	}
	table, err = NewTable(rules(t), append(entries, Entry{Number: 0x1234}))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := table.Next(); !errors.Is(err, ErrFull) {
		t.Errorf("65,281st number is %v, %v", n, err)
	}
}

func TestNumberString(t *testing.T) {
	for n, want := range map[Number]string{Unknown: "unknown", Host: "host", Locator: "locator", 0x1a7: "423 (0x01a7)", FirstWide: "65536 (0x10000)"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %s, want %s", uint32(n), got, want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	base := []Entry{{Number: 0x100, Set: set("shop", "web")}, {Number: 0x101, Set: set("shop", "db")}}
	print := func(entries ...Entry) string {
		table, err := NewTable(rules(t), entries)
		if err != nil {
			t.Fatal(err)
		}
		return table.Fingerprint()
	}
	want := print(base...)
	if got := print(base[1], base[0]); got != want {
		t.Errorf("order counts: %s, %s", got, want)
	}
	for name, other := range map[string][]Entry{
		"one less":      base[:1],
		"exchanged":     {{Number: 0x101, Set: set("shop", "web")}, {Number: 0x100, Set: set("shop", "db")}},
		"one retired":   {base[0], {Number: 0x101, Set: set("shop", "db"), Retired: true}},
		"another label": {base[0], {Number: 0x101, Set: set("shop", "dbs")}},
	} {
		if got := print(other...); got == want {
			t.Errorf("%s has the same fingerprint", name)
		}
	}
}

// A number that does not fit into an address leaves no trace in one, and none in the lower bits of a map: whoever reads 16 of them reads
// Unknown. No two numbers are packed alike.
func TestWideNumbers(t *testing.T) {
	seen := map[uint32]Number{}
	for n := range LastWide + 1 {
		packed := n.Packed()
		if other, twice := seen[packed]; twice || Unpack(packed) != n || packed == 1<<32-1 {
			t.Fatalf("%s is packed as %#x, as is %s, and read as %s", n, packed, other, Unpack(packed))
		}
		seen[packed] = n
		if n.Wide() != (n > LastWorkload) || n.Wide() && (n.Bits() != 0 || uint16(packed) != 0) || !n.Wide() && (Number(n.Bits()) != n || packed != uint32(n)) {
			t.Fatalf("%s: wide %t, in an address %#x, in a map %#x", n, n.Wide(), n.Bits(), packed)
		}
	}
	table, err := NewTable(rules(t), []Entry{{Number: FirstWide, Set: set("shop", "web")}, {Number: 0x105, Set: set("shop", "web"), Retired: true}})
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := table.Number(set("shop", "web")); n != FirstWide || !ok {
		t.Errorf("web has %v, %v", n, ok)
	}
	if n, err := table.Next(); n != 0x106 || err != nil {
		t.Errorf("next is %v, %v, want 0x106", n, err)
	}
	if _, err := NewTable(rules(t), []Entry{{Number: LastWide + 1, Set: set("shop", "web")}}); err == nil {
		t.Error("a number behind the last is accepted")
	}
}
