package dns

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"

	"hexapod.dev/model/dns64"
)

// maxWaiting is how many clients may wait for an answer at a time. More are not answered: they ask again.
const maxWaiting = 8192

// An endpoint that asks for much, or that is out for harm, leaves room for the others.
const (
	maxWaitingOfOne = maxWaiting / 8
	maxTCPOfOne     = maxTCP / 8
)

// Server answers. It is safe for use by many.
type Server struct {
	log     *slog.Logger
	began   time.Time
	state   atomic.Pointer[state]
	flights singleflight.Group
	waiting chan struct{}
	waits   *shares // of waiting
	streams *shares // of connections by TCP
	counts  counts
}

// state is one configuration and what was learned under it.
type state struct {
	Config
	unlike     map[netip.Addr]bool // of Clients
	groups     map[string]*group
	cache      *cache
	generation uint64
}

// New returns a server that does as c says.
func New(c Config, log *slog.Logger) (*Server, error) {
	s := &Server{log: log, began: time.Now(), waiting: make(chan struct{}, maxWaiting),
		waits: newShares(maxWaitingOfOne), streams: newShares(maxTCPOfOne)}
	s.counts.made = newReasons()
	return s, s.Configure(c)
}

// Configure replaces the configuration. What is remembered stays if it still holds.
func (s *Server) Configure(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	st := &state{Config: c, unlike: make(map[netip.Addr]bool, len(c.Clients.Unlike))}
	for _, a := range c.Clients.Unlike {
		st.unlike[a] = true
	}
	old := s.state.Load()
	if old == nil {
		st.groups, st.cache = groups(c.Zones, nil), newCache(c.CacheBytes)
		s.state.Store(st)
		return nil
	}
	st.groups, st.cache, st.generation = groups(c.Zones, old.groups), old.cache, old.generation
	if !reflect.DeepEqual(old.Policy, c.Policy) || !reflect.DeepEqual(names(old.Zones), names(c.Zones)) || old.CacheBytes != c.CacheBytes {
		st.cache, st.generation = newCache(c.CacheBytes), old.generation+1
	}
	s.state.Store(st)
	for _, g := range old.groups { // what is not asked any more
		for _, u := range g.servers {
			if !st.asks(u) {
				u.close()
			}
		}
	}
	return nil
}

func names(zones []Zone) (list []string) {
	for _, z := range zones {
		list = append(list, z.Name)
	}
	return list
}

func (st *state) asks(u *server) bool {
	for _, g := range st.groups {
		for _, s := range g.servers {
			if s == u {
				return true
			}
		}
	}
	return false
}

// now is the clock of the cache, in seconds.
func (s *Server) now() uint32 { return uint32(time.Since(s.began)/time.Second) + 1 }

// clientOf says what a client can do about IPv4.
func (st *state) clientOf(a netip.Addr) dns64.Client {
	c := st.Clients.InRange(a)
	if len(st.unlike) > 0 && st.unlike[a] {
		return c.Other()
	}
	return c
}

// Bits of the first octet of a key.
const (
	keyDO = 1 << iota
	keyCD
	keyMade // the answer may differ from what the upstream says
)

// keyFlags says which answers to one question differ.
func (st *state) keyFlags(typ uint16, do, cd bool, client dns64.Client) (flags byte) {
	if do {
		flags |= keyDO
	}
	if cd {
		flags |= keyCD
	}
	if client == dns64.SixOnly && (typ == dns64.TypeAAAA || typ == dns64.TypePTR || typ == dns64.TypeA && st.FilterA()) {
		flags |= keyMade
	}
	return flags
}

// FilterA reports whether A records are kept from clients without IPv4.
func (c *Config) FilterA() bool { return c.Policy.FilterA }

// typeNone stands for all types in the key of a name that does not exist (RFC 2308 5).
const typeNone = 0

// hit answers from the cache.
func (s *Server) hit(st *state, q *query, client dns64.Client, out []byte, now uint32) (_ []byte, extra uint16, ok bool) {
	if q.qclass != classIN {
		return out, 0, false
	}
	key := q.key[:q.keyLen]
	key[0] = st.keyFlags(q.qtype, q.do, q.cd(), client)
	if out, extra, ok = st.cache.get(out, key, now); ok {
		return out, extra, true
	}
	typ := [2]byte{key[q.keyLen-2], key[q.keyLen-1]}
	flags := key[0]
	key[0], key[q.keyLen-2], key[q.keyLen-1] = flags&^keyMade, 0, typeNone
	out, extra, ok = st.cache.get(out, key, now)
	key[0], key[q.keyLen-2], key[q.keyLen-1] = flags, typ[0], typ[1]
	return out, extra, ok
}

// cached is hit for a question of our own; nil if there is nothing.
func (s *Server) cached(st *state, q dns64.Question) *found {
	if q.Class != classIN || q.Type == dns64.TypeAAAA {
		return nil
	}
	now := s.now()
	for _, typ := range []uint16{q.Type, typeNone} {
		key, ok := st.key(q, typ, dns64.Capable)
		if !ok {
			return nil
		}
		b, extra, ok := st.cache.get(nil, key, now)
		if !ok {
			continue
		}
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return nil
		}
		m.Question[0].Qtype = q.Type
		return &found{msg: m, from: "cache", safe: true, bogus: m.Rcode == dns.RcodeServerFailure && extra == extraBogusSelf, extra: extra}
	}
	return nil
}

func (st *state) key(q dns64.Question, typ uint16, client dns64.Client) ([]byte, bool) {
	key := make([]byte, maxKey)
	end, err := dns.PackDomainName(q.Name, key[:maxKey-2], 1, nil, false)
	if err != nil {
		return nil, false
	}
	key[0] = st.keyFlags(q.Type, q.DO, q.CD, client)
	if typ == typeNone {
		key[0] &^= keyMade
	}
	key[end], key[end+1] = byte(typ>>8), byte(typ)
	return key[:end+2], true
}

// packed is a finished answer as it is remembered and sent: without OPT.
type packed struct {
	message []byte
	extra   uint16
}

// remember packs an answer, and puts it into the cache for as long as it holds.
func (s *Server) remember(st *state, q dns64.Question, client dns64.Client, f finished) packed {
	m := f.msg
	m.Compress = true
	ttl := lifetime(m)
	b, err := m.Pack()
	if err != nil { // records that cannot be written again
		s.log.Debug("an answer cannot be packed", "name", q.Name, "error", err)
		fail := failure(q, "", err)
		if b, err = fail.msg.Pack(); err != nil {
			return packed{}
		}
		ttl = failureTTL
	}
	p := packed{b, f.extra}
	var room [64]uint16
	offsets, lowest, err := ttlOffsets(b, room[:0])
	if err != nil || q.Class != classIN {
		return p
	}
	typ := q.Type
	if m.Rcode == dns.RcodeNameError && len(m.Answer) == 0 {
		typ = typeNone
	}
	if len(offsets) > 0 {
		ttl = min(ttl, lowest)
	}
	if key, ok := st.key(q, typ, client); ok && ttl > 0 {
		st.cache.put(key, b, offsets, s.now(), ttl, f.extra)
	}
	return p
}

// lifetime is how long an answer may be remembered, in seconds, by what it says. In a negative one the SOA gets that as its time.
func lifetime(m *dns.Msg) uint32 {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return failureTTL
	case m.Rcode == dns.RcodeSuccess && positive(m):
		return maxTTL
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok { // RFC 2308 3, 5
			soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
			return min(soa.Hdr.Ttl, negativeTTL)
		}
	}
	return 0 // RFC 2308 5: without a SOA it is not remembered
}

// positive reports whether an answer has what was asked for.
func positive(m *dns.Msg) bool {
	want := m.Question[0].Qtype
	for _, rr := range m.Answer {
		if t := rr.Header().Rrtype; t == want || want == dns.TypeANY {
			return true
		}
	}
	return false
}

// make makes the answer to a question that the cache does not know; clients with the same question wait for the same answer.
func (s *Server) make(st *state, q dns64.Question, client dns64.Client) packed {
	flags := st.keyFlags(q.Type, q.DO, q.CD, client)
	v, _, _ := s.flights.Do(string(rune('0'+flags))+flightKey(q, st.generation), func() (any, error) {
		if p, ok := s.madeMeanwhile(st, q, client); ok {
			return p, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), budget)
		defer cancel()
		done := (&resolution{s: s, st: st, q: q, client: client}).run(ctx)
		s.counts.reason(done.why)
		if flags&keyMade == 0 && q.Type != dns64.TypeAAAA { // lookup has remembered it
			done.msg.Compress = true
			if b, err := done.msg.Pack(); err == nil {
				return packed{b, done.extra}, nil
			}
		}
		return s.remember(st, q, client, done), nil
	})
	return v.(packed)
}

// madeMeanwhile looks into the cache once more: a client that saw nothing there may come behind the making of its answer.
func (s *Server) madeMeanwhile(st *state, q dns64.Question, client dns64.Client) (packed, bool) {
	key, ok := st.key(q, q.Type, client)
	if !ok || q.Class != classIN {
		return packed{}, false
	}
	b, extra, ok := st.cache.get(nil, key, s.now())
	return packed{b, extra}, ok
}
