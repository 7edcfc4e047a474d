package nat64

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
)

// places are where the fast path meets packets.
func (w *twin) places() map[string]func([]byte, int) (uint32, []byte, error) {
	return map[string]func([]byte, int) (uint32, []byte, error){"at the device": w.run, "where it arrives": w.arrives}
}

// TestRFC7915_4_5_NoChecksumIsLeftAlone: a datagram of IPv4 without checksum is left to the translator, which computes one over its data.
func TestRFC7915_4_5_NoChecksumIsLeftAlone(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 256)
	w.direct = true
	w.tell(t)
	g := &packets{Rand: rand.New(rand.NewPCG(4, 5)), w: w}
	_, sent := w.with.through(udpOf(g, 2000), 0)
	summed := answerTo(sent)
	bare := bytes.Clone(summed)
	binary.BigEndian.PutUint16(bare[26:], 0)
	_, want := w.with.through(summed, 0)
	if why, got := w.with.through(bare, 0); !bytes.Equal(got, want) {
		t.Errorf("the translator makes %x of it (%s), want %x", got, why, want)
	}
	netnstest.Do(t, ns, func() error {
		for place, send := range w.places() {
			for name, c := range map[string]struct {
				packet []byte
				alone  bool
			}{"with": {summed, false}, "without": {bare, true}} {
				way, got, err := send(c.packet, 0)
				if err != nil {
					return err
				}
				if (way == leftAlone) != c.alone {
					t.Errorf("%s: a datagram %s a checksum went way %d: %s", place, name, way, short(got))
				}
			}
		}
		return nil
	})
}

// TestRFC768_ZeroIsSentAsOnes: a checksum that becomes zero in the other family is sent as ffff, both ways and wherever the fast path meets
// the packet: zero would mean that there is none.
func TestRFC768_ZeroIsSentAsOnes(t *testing.T) {
	ns := netnstest.New(t)
	w := newTwin(t, ns, 256)
	w.direct = true
	w.tell(t)
	g := &packets{Rand: rand.New(rand.NewPCG(7, 68)), w: w}
	out := udpOf(g, 2000)
	_, sent := w.with.through(out, 0)
	back := append(answerTo(sent), 0, 0) // two bytes of data, which the sum is made with
	binary.BigEndian.PutUint16(back[2:], uint16(len(back)))
	binary.BigEndian.PutUint16(back[24:], 10)
	setHops(64, back)
	resum(back, 20)
	_, answer := w.with.through(back, 0)
	for name, c := range map[string]struct {
		packet, after []byte
		upper, data   int // offsets in packet
		upperAfter    int
	}{
		"to IPv4": {out, sent, 40, 48, 20},
		"to IPv6": {back, answer, 20, 28, 40},
	} {
		t.Run(name, func(t *testing.T) {
			word := binary.BigEndian.Uint16(c.packet[c.data:])
			spare := binary.BigEndian.Uint16(c.after[c.upperAfter+6:])
			// The sum of what leaves is ^spare; so much more in the data, and it is ffff.
			added := uint32(word) + uint32(spare)
			binary.BigEndian.PutUint16(c.packet[c.data:], uint16(added>>16+added&0xffff))
			resum(c.packet, c.upper)
			_, want := w.with.through(c.packet, 0)
			if got := binary.BigEndian.Uint16(want[c.upperAfter+6:]); got != 0xffff {
				t.Fatalf("the translator sends the checksum %04x, want ffff", got)
			}
			netnstest.Do(t, ns, func() error {
				for place, send := range w.places() {
					way, got, err := send(c.packet, 0)
					if err != nil {
						return err
					}
					if way == leftAlone {
						t.Errorf("%s: it is left alone", place)
					} else if got := binary.BigEndian.Uint16(got[c.upperAfter+6:]); got != 0xffff {
						t.Errorf("%s: the checksum is sent as %04x, want ffff", place, got)
					}
				}
				return nil
			})
		})
	}
}

// resum computes the checksum of the UDP header at an offset of a packet anew.
func resum(p []byte, at int) {
	from, to := p[8:24], p[24:40]
	if p[0]>>4 == 4 {
		from, to = p[12:16], p[16:20]
	}
	p[at+6], p[at+7] = 0, 0
	binary.BigEndian.PutUint16(p[at+6:], max(1, ^fold(from, to, []byte{0, 17}, p[at+4:at+6], p[at:])))
}
