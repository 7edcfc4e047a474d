package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"hexapod.dev/model/xlat/nat64"
)

func told(i int) Told {
	return Told{Gone: i%3 == 0, Copy: nat64.Copy{Protocol: 6, Endpoint: netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)), uint16(i)), Pool: netip.AddrPortFrom(addresses(1)[0], uint16(1024+i))}}
}

// keyOf is one of several keys.
func keyOf(i byte) Key { return bytes.Repeat([]byte{i}, KeyLen) }

// voices are two gateways with the same keys.
func voices(keys ...Key) (a, b *Voice) {
	m := members(2)
	return voice(m[0], m[1], 10, keys...), voice(m[1], m[0], 20, keys...)
}

func voice(self, other Member, life uint64, keys ...Key) *Voice {
	v := NewVoice(self.At, life)
	v.Know([]Member{other}, keys)
	return v
}

// meet lets two gateways hear each other.
func meet(t *testing.T, a, b *Voice) {
	t.Helper()
	b.Hear(a.Say(b.at, Word{}))
	for range 2 {
		for _, say := range [][2]*Voice{{b, a}, {a, b}} {
			if _, doubt := say[1].Hear(say[0].Say(say[1].at, Word{})); doubt != "" && doubt != Unanswered {
				t.Fatal(doubt)
			}
		}
	}
	for _, say := range [][2]*Voice{{a, b}, {b, a}} {
		if _, doubt := say[1].Hear(say[0].Say(say[1].at, Word{})); doubt != "" {
			t.Fatalf("two that have met: %s", doubt)
		}
	}
}

func TestWords(t *testing.T) {
	for _, keys := range [][]Key{nil, {keyOf(1)}} {
		a, b := voices(keys...)
		meet(t, a, b)
		for _, n := range []int{0, 1, MostTold, MostTold + 1} {
			w := Word{Ready: n%2 == 0}
			for i := range n {
				w.Bindings = append(w.Bindings, told(i))
			}
			raw := a.Say(b.at, w)
			if len(raw) > 1280 {
				t.Errorf("%d bindings are %d bytes", n, len(raw))
			}
			for range 100 { // what is changed on its way is not heard, but for the hop limit and what no checksum covers
				bad := slices.Clone(raw)
				at := 8 + rand.IntN(len(bad)-8)
				bad[at] ^= byte(1 + rand.IntN(255))
				if r, doubt := b.Hear(bad); doubt == "" && r.Packet == nil {
					t.Fatalf("byte %d is changed and it is heard: %+v", at, r)
				}
			}
			r, doubt := b.Hear(raw)
			if doubt != "" || r.From != a.at || r.Packet != nil || r.Word.Ready != w.Ready || !slices.Equal(r.Word.Bindings, w.Bindings[:min(n, MostTold)]) {
				t.Errorf("%d bindings come as %+v, %s", n, r, doubt)
			}
		}
	}
}

func TestWrap(t *testing.T) {
	a, b := voices()
	for _, inner := range [][]byte{append([]byte{0x60}, make([]byte, 60)...), append([]byte{0x45}, make([]byte, 30)...)} {
		raw := Wrap(a.at, b.at, inner)
		r, doubt := b.Hear(raw)
		if doubt != "" || r.From != a.at || !slices.Equal(r.Packet, inner) {
			t.Errorf("comes as %+v, %s", r, doubt)
		}
		raw[6] ^= protoIPv4 ^ protoIPv6
		if _, doubt := b.Hear(raw); doubt != NotWhole {
			t.Errorf("a packet of another family than it says: %q", doubt)
		}
	}
}

// RFC 5082: what comes from far away is not a gateway's, whatever it says.
func TestRFC5082_HopLimit(t *testing.T) {
	a, b := voices()
	for _, raw := range [][]byte{a.Say(b.at, Word{}), Wrap(a.at, b.at, []byte{0x45})} {
		for hops, want := range map[byte]Doubt{255: "", 239: "", 238: NotWhole, 64: NotWhole} {
			raw[7] = hops
			if _, doubt := b.Hear(raw); doubt != want {
				t.Errorf("a hop limit of %d: %q, want %q", hops, doubt, want)
			}
		}
	}
}

// What others say as a gateway, without its key, is not believed; neither is what it said itself, once more.
func TestLies(t *testing.T) {
	m, key := members(3), keyOf(1)
	a, b := voices(key)
	meet(t, a, b)
	word := Word{Ready: true, Bindings: []Told{told(1)}}
	once := a.Say(b.at, word)
	if _, doubt := b.Hear(once); doubt != "" {
		t.Fatal(doubt)
	}
	third := voice(m[0], m[2], 30, key)
	for _, c := range []struct {
		what string
		raw  []byte
		want Doubt
	}{
		{"no key", voice(m[0], m[1], 40).Say(b.at, word), Unsigned},
		{"another key", voice(m[0], m[1], 40, keyOf(2)).Say(b.at, word), WrongKey},
		{"said again", once, Repeated},
		{"a process that begins, or one of long ago", voice(m[0], m[1], 40, key).Say(b.at, word), Unanswered},
		{"said to another", otherwise(a.Say(m[2].At, word), m[0].At, b.at), WrongKey},
		{"said by another", otherwise(third.Say(b.at, word), m[2].At, b.at), Stranger},
		{"by itself, sent back", otherwise(b.Say(a.at, word), a.at, b.at), WrongKey},
		{"half of it", datagramOf(a, b, once[headerLen+udpLen:len(once)-1]), WrongKey},
		{"its mark alone", datagramOf(a, b, signedMark[:]), NotWhole},
		{"nothing", datagramOf(a, b, nil), NotWhole},
		{"of another version", datagramOf(a, b, []byte("hxg9........................................................")), NotWhole},
	} {
		if r, doubt := b.Hear(c.raw); doubt != c.want || len(r.Word.Bindings) > 0 {
			t.Errorf("%s: %q, %+v; want %q", c.what, doubt, r.Word, c.want)
		}
	}
	if _, doubt := b.Hear(a.Say(b.at, word)); doubt != "" {
		t.Errorf("after all that: %s", doubt)
	}
}

// otherwise changes who a datagram is from and to, with the right checksum.
func otherwise(raw []byte, from, to netip.Addr) []byte {
	return NewVoice(from, 1).datagram(to, raw[headerLen+udpLen:])
}

func datagramOf(from, to *Voice, said []byte) []byte { return from.datagram(to.at, said) }

// A gateway that begins anew is heard as soon as it has heard the other; nothing of what it or the other said before is, ever.
func TestBeginsAnew(t *testing.T) {
	m, key := members(2), keyOf(1)
	a, b := voices(key)
	meet(t, a, b)
	old := [][]byte{a.Say(b.at, Word{Ready: true}), a.Say(b.at, Word{Ready: true})}
	oldB := b.Say(a.at, Word{Ready: true})
	again := voice(m[0], m[1], 11, key)
	if _, doubt := again.Hear(oldB); doubt != Unanswered {
		t.Errorf("a word for the process before: %q", doubt)
	}
	meet(t, again, b)
	for range 2 {
		for _, raw := range old {
			if _, doubt := b.Hear(raw); doubt != Repeated {
				t.Errorf("a word of the process before: %q", doubt)
			}
		}
	}
	both := voice(m[1], m[0], 21, key)
	for _, raw := range old {
		if _, doubt := both.Hear(raw); doubt != Unanswered {
			t.Errorf("a word for the process before: %q", doubt)
		}
	}
	meet(t, again, both)
}

// Keys are changed while gateways hear each other: first all believe the new one, then all sign by it, then nobody believes the old one. To
// begin to sign is the same, from no key to one.
func TestRFC2104_KeysAreChanged(t *testing.T) {
	m := members(2)
	for _, c := range [][2]Key{{nil, keyOf(1)}, {keyOf(1), keyOf(2)}, {keyOf(1), nil}} {
		a, b := voices(c[0])
		meet(t, a, b)
		for _, keys := range [][]Key{{c[0], c[1]}, {c[1], c[0]}, {c[1]}} {
			a.Know(m[1:2], keys) // and b not yet
			meet(t, a, b)
			b.Know(m[0:1], keys)
			meet(t, a, b)
		}
		b.Know(m[0:1], []Key{c[0]})
		if _, doubt := b.Hear(a.Say(b.at, Word{})); doubt != WrongKey && doubt != Unsigned && doubt != NotWhole {
			t.Errorf("from %s to %s, one that did not follow: %q", c[0], c[1], doubt)
		}
	}
	for want, keys := range map[string][]Key{
		"not signed": nil, "signed": {keyOf(1), keyOf(2)},
		"not signed, and signed ones are believed too": {nil, keyOf(1)}, "signed, and unsigned ones are believed too": {keyOf(1), nil},
	} {
		if got := Signature(keys); got != want {
			t.Errorf("%v: %q, want %q", keys, got, want)
		}
	}
	if text := fmt.Sprintf("%v %+v", keyOf(65), []Key{keyOf(65)}); strings.Contains(text, "65") || strings.Contains(text, "A") {
		t.Errorf("a key shows: %s", text)
	}
}

func FuzzHear(f *testing.F) {
	key := keyOf(1)
	for _, keys := range [][]Key{nil, {key}} {
		a, b := voices(keys...)
		f.Add(a.Say(b.at, Word{Ready: true, Bindings: []Told{told(1)}}))
		f.Add(Wrap(a.at, b.at, []byte{0x45}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, b := voices(key)
		if r, doubt := b.Hear(raw); doubt == "" && r.Packet == nil {
			t.Errorf("a word without the key is believed: %+v", r)
		}
		_, b = voices()
		if r, doubt := b.Hear(raw); doubt == "" && len(r.Word.Bindings) > 255 {
			t.Error("too many")
		}
	})
}
