package nat64

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// captured is a packet of a capture.
type captured struct {
	second uint32
	bytes  []byte
}

// readCapture reads a packed capture of raw IP packets.
func readCapture(t *testing.T, path string) (list []captured) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	const rawIP = 101
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(b[20:]) != rawIP {
		t.Fatalf("%s: want a capture of raw IP packets: go run ./test/capture makes one", path)
	}
	for b = b[24:]; len(b) > 0; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if whole := int(binary.LittleEndian.Uint32(b[12:])); n != whole || len(b) < 16+n {
			t.Fatalf("%s: a packet of %d bytes was cut to %d", path, whole, n)
		}
		list = append(list, captured{binary.LittleEndian.Uint32(b), b[16 : 16+n]})
		b = b[16+n:]
	}
	return list
}

// TestTwinOfTheWeb sends what curl sent and received for 220 objects, by HTTP/1.1, HTTP/2 and DNS, through the program and through the
// engine: they make the same of every packet, checksums and lengths are right, and nearly every packet is the program's own.
func TestTwinOfTheWeb(t *testing.T) {
	netnstest.Root(t)
	list := readCapture(t, "testdata/web.pcap.gz")
	ns := netnstest.New(t)
	w := newTwin(t, ns, 4096) // room for all: a flow that finds none stays with the translator
	half := func(fast *nat64.Fast) *half {
		blocks := nat64.NewBlocks(nat64.Pool{Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, Gateways: []string{"gw"}}, "gw", 4, func(nat64.Grant) {})
		h := &half{blocks: blocks, table: nat64.New(nat64.Config{Prefixes: []xlat.Pref64{xlat.WellKnown}, Secret: twinSecret,
			Times: nat64.DefaultTimes, Limit: 10_000, Blocks: blocks, Fast: fast, Now: w.now})}
		h.engine = &xlat.Translator{Mapper: h.table, MTU6: 1500, LowestMTU6: 1500, Carried: true, ID: func() uint16 { return w.id }}
		return h
	}
	w.with, w.without = half(nat64.NewFast(w.memory, w.rooms, fastSeed(twinSecret))), half(nil)
	w.prefix = xlat.WellKnown
	netnstest.Do(t, ns, func() error { return w.replay(t, list) })
}

// mostLeft is how many packets in 1,000 may be left to the translator.
const mostLeft = 19

func (w *twin) replay(t *testing.T, list []captured) error {
	left, counts := 0, map[string]int{}
	for i, p := range list {
		if now := nat64.Seconds(1000 + p.second - list[0].second); now != w.now || i == 0 {
			w.now, w.id = now, uint16(i)
			w.tell(t)
		}
		way, got, err := w.run(p.bytes, 0)
		if err != nil {
			return fmt.Errorf("packet %d: %w\n%s", i, err, short(p.bytes))
		}
		why, want := w.without.through(p.bytes, 0)
		if want == nil {
			return fmt.Errorf("packet %d is not translated: %s (if ports are chosen in another way now, go run ./test/capture): %s", i, why, short(p.bytes))
		}
		if way == leftAlone {
			left++
			_, got = w.with.through(p.bytes, 0)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("packet %d (way %d): %s\nengine  %s\nprogram %s", i, way, short(p.bytes), short(want), short(got))
		}
		kind, err := sound(got)
		if err != nil {
			return fmt.Errorf("packet %d: %w: %s", i, err, short(got))
		}
		counts[kind]++
	}
	w.sameState(t)
	t.Logf("%d packets, %v, %d of them (%.2f %%) left to the translator", len(list), counts, left, 100*float64(left)/float64(len(list)))
	if left*1000 > mostLeft*len(list) {
		t.Errorf("%d of %d packets were left to the translator, want at most %d in 1,000", left, len(list), mostLeft)
	}
	for _, kind := range []string{"IPv4 TCP", "IPv6 TCP", "IPv4 UDP", "IPv6 UDP"} {
		if counts[kind] == 0 {
			t.Errorf("no packet became one of %s", kind)
		}
	}
	return nil
}

// sound looks at the lengths and checksums of a packet of TCP or UDP as its receiver does.
func sound(p []byte) (kind string, err error) {
	var ends []byte
	var proto byte
	l4 := p
	switch {
	case len(p) >= 20 && p[0] == 0x45:
		kind, proto, ends, l4 = "IPv4", p[9], p[12:20], p[20:]
		if int(binary.BigEndian.Uint16(p[2:])) != len(p) || fold(p[:20]) != 0xffff {
			return kind, fmt.Errorf("length or checksum of the header of %s", kind)
		}
	case len(p) >= 40 && p[0]>>4 == 6:
		kind, proto, ends, l4 = "IPv6", p[6], p[8:40], p[40:]
		if int(binary.BigEndian.Uint16(p[4:])) != len(l4) {
			return kind, fmt.Errorf("length of %s", kind)
		}
	default:
		return "", fmt.Errorf("neither IPv4 nor IPv6")
	}
	switch {
	case proto == 6 && len(l4) >= 20 && int(l4[12]>>4)*4 <= len(l4):
		kind += " TCP"
	case proto == 17 && len(l4) >= 8 && int(binary.BigEndian.Uint16(l4[4:])) == len(l4) && binary.BigEndian.Uint16(l4[6:]) != 0:
		kind += " UDP"
	default:
		return kind, fmt.Errorf("transport %d", proto)
	}
	if fold(ends, []byte{0, proto, byte(len(l4) >> 8), byte(len(l4))}, l4) != 0xffff {
		return kind, fmt.Errorf("checksum of %s", kind)
	}
	return kind, nil
}
