package dns

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"hexapod.dev/model/dns64"
)

// message is an answer with one record that lives for ttl seconds.
func message(t testing.TB, name string, ttl uint32) ([]byte, []uint16) {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: []byte{8, 0, 0, 1}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	offsets, lowest, err := ttlOffsets(b, nil)
	if err != nil || lowest != ttl || len(offsets) != 1 {
		t.Fatalf("offsets %v, lowest %d, %v", offsets, lowest, err)
	}
	return b, offsets
}

func TestCacheAges_RFC1034_4_3_5(t *testing.T) {
	c := newCache(minCacheBytes)
	b, offsets := message(t, "x.test.", 60)
	c.put([]byte("key"), b, offsets, 100, 60, noExtra)
	for now, want := range map[uint32]uint32{100: 60, 101: 59, 159: 1} {
		got, _, ok := c.get(nil, []byte("key"), now)
		if !ok || binary.BigEndian.Uint32(got[offsets[0]:]) != want {
			t.Errorf("at %d: %v, %x", now, ok, got)
		}
	}
	if _, _, ok := c.get(nil, []byte("key"), 160); ok {
		t.Error("it is there after its time")
	}
	if _, _, ok := c.get(nil, []byte("other"), 100); ok {
		t.Error("another key has it")
	}
}

// The cache against a map: what it says is what was put last, whatever went out of it, and its memory has an end.
func TestCacheAgainstAMap(t *testing.T) {
	c := newCache(minCacheBytes)
	r := rand.New(rand.NewPCG(1, 2))
	last := map[string]string{}
	hits := 0
	for range 200_000 {
		key := fmt.Sprintf("key-%d", r.IntN(20_000))
		if r.IntN(2) == 0 {
			text := make([]byte, 12+r.IntN(300))
			binary.BigEndian.PutUint64(text, r.Uint64())
			c.put([]byte(key), text, nil, 1, 10, noExtra)
			last[key] = string(text)
			continue
		}
		if got, _, ok := c.get(nil, []byte(key), 2); ok {
			hits++
			if string(got) != last[key] {
				t.Fatalf("%s has what was never put last", key)
			}
		}
	}
	entries, used := c.used()
	if hits < 1000 || used > minCacheBytes || entries == 0 || used < minCacheBytes/2 {
		t.Errorf("%d hits, %d entries, %d bytes", hits, entries, used)
	}
	indexed := 0
	for i := range c.shards {
		indexed += len(c.shards[i].at)
	}
	if indexed > entries {
		t.Errorf("%d keys lead to %d entries", indexed, entries)
	}
}

// What is too big for a ring is not put, and harms nothing.
func TestCacheRefusesWhatIsTooBig(t *testing.T) {
	c := newCache(minCacheBytes)
	c.put([]byte("big"), make([]byte, minCacheBytes/shards), nil, 1, 10, noExtra)
	if _, _, ok := c.get(nil, []byte("big"), 1); ok {
		t.Error("it is there")
	}
}

// Whatever a client sends: no panic, and an answer is one to its question.
func FuzzQuery(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("four.test.", dns.TypeAAAA)
	m.SetEdns0(1232, true)
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:12])
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var q query
		verdict := q.read(in)
		if verdict == dropIt {
			return
		}
		if verdict != answerIt {
			if verdict != badVers {
				q.question, q.edns = 0, false
			}
			if out := q.fail(nil, in, verdict, noExtra); len(out) < headerLen || out[0] != in[0] || out[2]&0x80 == 0 {
				t.Fatalf("error %d: %x", verdict, out)
			}
			return
		}
		name, _, err := dns.UnpackDomainName(q.name(), 0)
		if err != nil {
			t.Fatalf("a name that was taken cannot be read: %x: %v", q.name(), err)
		}
		out := q.fail(nil, in, 2, dns.ExtendedErrorCodeNoReachableAuthority)
		var r dns.Msg
		if err := r.Unpack(out); err != nil || len(r.Question) != 1 || dns.CanonicalName(r.Question[0].Name) != dns.CanonicalName(name) || r.Rcode != 2 {
			t.Fatalf("%x is answered by %x: %v", in, out, err)
		}
	})
}

// Whatever a message holds, the places of its times lie inside it.
func FuzzTTLOffsets(f *testing.F) {
	b, _ := message(f, "x.test.", 60)
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		offsets, _, err := ttlOffsets(in, nil)
		if err != nil {
			return
		}
		for _, o := range offsets {
			if int(o)+4 > len(in) {
				t.Fatalf("a time at %d of %d", o, len(in))
			}
		}
	})
}

// BenchmarkHit is one question that is remembered, less the socket.
func BenchmarkHit(b *testing.B) {
	s, err := New(Config{Policy: policyFor(), Zones: []Zone{{Name: ".", Upstreams: []Upstream{{Addr: netip.MustParseAddrPort("[::1]:53"), Via: UDP}}}},
		Allow: []netip.Prefix{netip.MustParsePrefix("::1/128")}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	st := s.state.Load()
	const names = 1000
	var asked [names][]byte
	for i := range names {
		name := fmt.Sprintf("host-%d.bench.test.", i)
		answer, offsets := message(b, name, 3600)
		key, _ := st.key(dns64.Question{Name: name, Type: dns.TypeA, Class: classIN}, dns.TypeA, dns64.SixOnly)
		st.cache.put(key, answer, offsets, s.now(), 3600, noExtra)
		m := new(dns.Msg).SetQuestion(name, dns.TypeA).SetEdns0(1232, false)
		if asked[i], err = m.Pack(); err != nil {
			b.Fatal(err)
		}
	}
	out, from := make([]byte, 0, maxMessage), netip.IPv6Loopback()
	var q query
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if answer, _ := s.handle(out, asked[i%names], from, true, &q, 1); answer == nil {
			b.Fatal("it is not remembered")
		}
		i++
	}
}
