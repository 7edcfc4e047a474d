package nat64

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// Files of a translator.
type Files struct {
	TUN    *os.File      // a packet is one read or write, which never wait in the kernel
	Table  *os.File      // memory for bindings; nil: they end with the process
	Grants io.ReadWriter // the segment of the log of grants that is written, read from its begin and appended to
	Left   []byte        // what the translator before could not write there
	Fast   *os.File      // memory shared with the fast path; nil: every packet comes here
	Rooms  *os.File      // the same, by which it begins flows; nil: every flow begins here
	Bound  *os.File      // where ports of the host's own address are marked that endpoints have; nil: there is no such place
}

// Translator translates what comes out of one TUN device.
type Translator struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex // guards all following fields
	config  Config
	engine  *xlat.Translator // nil before the first Configure
	table   *nat64.Table
	blocks  *nat64.Blocks
	store   []nat64.Binding
	buckets []nat64.Bucket
	rooms   nat64.Rooms
	bound   nat64.Bits
	fast    *nat64.Fast
	grants  *Grants
	waiting waiting
	out     xlat.Packets
	queue   queue
	whole   xlat.Translator // for super-packets, which leave in segments that fit
	piece   []byte          // room for one of those
	count   counted
	alerted map[netip.Addr]bool // endpoints above the threshold of their quota
	denied  map[netip.Addr]nat64.Seconds
	mute    bool  // who sent this packet is not to be told that it was refused
	problem error // of the log of grants
	left    bool  // another one goes on with it

	group   *group // nil: alone
	kept    kept
	grouped chan struct{} // there are others to be told
}

// counted is Counts as packets count: by xlat.Why and nat64.Shortage.
type counted struct {
	to4, to6      [64]uint64
	refused       map[string]uint64
	answers, lost uint64
}

// Counts are what a translator has done since it began.
type Counts struct {
	To4, To6 map[string]uint64 // packets by what became of them, in the words of xlat.Why
	Answers  uint64            // ICMP errors that it made itself
	Refused  map[string]uint64 // bindings that were not made, in the words of nat64.Shortage
	Lost     uint64            // fragments that waited for their first in vain
}

// New makes a translator that does nothing before it is configured.
func New(files Files, log *slog.Logger) *Translator {
	t := &Translator{files: files, log: log, alerted: map[netip.Addr]bool{}, denied: map[netip.Addr]nat64.Seconds{}, grouped: make(chan struct{}, 1),
		count: counted{refused: map[string]uint64{}}, queue: openQueue(files.TUN)}
	t.kept = newKept(t.note)
	return t
}

// Configure says what is wanted. What the table holds goes on where the new configuration still has room for it.
func (t *Translator) Configure(c Config) error {
	prefixes, err := c.prefixes()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.engine != nil && c.same(t.config) { // the next agent says the same: sessions go on as they are
		t.table.Hold(c.held())
		if t.group != nil {
			t.group.voice.Know(t.group.Others(), c.Keys)
			t.group.Leave(c.Leaving)
		}
		t.config = c
		return nil
	}
	var living []nat64.Grant
	if t.grants == nil {
		if t.grants, living, err = openGrants(t.files.Grants, t.files.Left); err != nil {
			return err
		}
	} else {
		living = t.blocks.Living()
	}
	if t.files.Table != nil && len(t.store) != c.Bindings {
		// The memory before stays mapped: that happens when a person changes the size, and the pages are the same.
		if t.store, err = memory(t.files.Table, c.Bindings); err != nil {
			return err
		}
	}
	pool := nat64.Pool{Addrs: c.Pool, Gateways: []string{c.Gateway}, First: c.Ports.First, Last: c.Ports.Last}
	if t.group = t.groupOf(c); t.group != nil {
		pool.Addrs, pool.Gives = t.group.Mine(), t.group.Gives
	}
	t.blocks = nat64.NewBlocks(pool, c.Gateway, c.Blocks, t.granted)
	for _, g := range living {
		if !t.blocks.Resume(g) {
			g.To = max(now(), 1)
			t.granted(g)
		}
	}
	if t.fast, err = t.share(c); err != nil {
		return err
	}
	bound, err := t.bits(c)
	if err != nil {
		return err
	}
	t.table = nat64.New(nat64.Config{Fast: t.fast, Bound: bound, Held: c.held(),
		Prefixes: prefixes, Self4: c.Self4, Secret: c.Secret, Times: nat64.DefaultTimes, Limit: c.Bindings,
		Blocks: t.blocks, Clients: c.Clients, Private: c.Private, Bindings: t.store, Now: now()})
	t.table.Refused = t.refused
	t.engine = &xlat.Translator{Mapper: t.table, MTU4: c.MTU4, MTU6: c.MTU6, LowestMTU6: c.MTU6, Carried: true, Self4: c.Self4, Self6: c.Self6, ID: identification()}
	t.whole = *t.engine
	t.whole.MTU4, t.whole.MTU6, t.whole.LowestMTU6 = 0, 0, 1<<17
	t.config = c
	if t.group != nil {
		t.join()
	}
	return t.queue.setLeave(t.files.TUN, t.group == nil)
}

// share opens the memory of the fast path; nil: there is none.
func (t *Translator) share(c Config) (_ *nat64.Fast, err error) {
	if t.files.Fast == nil || c.Fast == 0 {
		return nil, nil
	}
	if len(t.buckets) != c.Fast {
		if t.buckets, err = shared(t.files.Fast, c.Fast); err != nil {
			return nil, err
		}
	}
	if t.files.Rooms != nil && len(t.rooms.List) != c.Rooms {
		if t.rooms, err = sharedRooms(t.files.Rooms, c.Rooms); err != nil {
			return nil, err
		}
	}
	return nat64.NewFast(t.buckets, t.rooms, fastSeed(c.Secret)), nil
}

// bits opens the place for marks of bound ports, where the address is the host's own; nil: it is not.
func (t *Translator) bits(c Config) (_ nat64.Bits, err error) {
	switch {
	case c.Ports == (Ports{}):
		return nil, nil
	case t.files.Bound == nil:
		return nil, errors.New("ports of the host's own address: nothing brings their packets here; only the agent starts it")
	case t.bound == nil:
		t.bound, err = sharedBits(t.files.Bound)
	}
	return t.bound, err
}

// identification counts from a random number: IPv4 packets of one pair of ends repeat one after 65,536 (RFC 6864 4.3).
func identification() func() uint16 {
	next := uint16(rand.Uint32())
	return func() uint16 { next++; return next }
}

// granted writes a grant down. A log that cannot be written is told in the status: packets go on, for a full disk must not cut the
// network.
func (t *Translator) granted(g nat64.Grant) {
	event := EventGranted
	if g.To != 0 {
		event = EventReturned
	}
	t.note(record(event, "", g.Block, g.Endpoint))
}

// note adds a record to the log of grants.
func (t *Translator) note(r Record) { t.written(t.grants.write(r)) }

// written takes what became of writing to the log of grants.
func (t *Translator) written(err error) {
	switch {
	case err != nil && t.problem == nil:
		t.log.Error("grants of ports are not written down", "error", err)
	case err == nil && t.problem != nil:
		t.log.Info("grants of ports are written down again", "lost", t.grants.lost)
	}
	t.problem = err
}

// Segment goes on with the log of grants in a file that is the segment of a number. taken is false when it is written already.
func (t *Translator) Segment(number uint64, f segmentFile) (taken bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grants == nil || t.left {
		return false, errors.New("log of NAT64 grants: the translator is not at work")
	}
	taken, err = t.grants.begin(number, f)
	t.written(t.grants.problem)
	return taken, err
}

// handOver ends what this translator writes down, and returns what it could not write.
func (t *Translator) handOver() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = true
	if t.grants == nil {
		return t.files.Left
	}
	_ = t.grants.flush() // what it does not take, the next one has
	return t.grants.waiting
}

// refused notes that an endpoint did not get a binding. An endpoint is written down once a minute. Who has just given its addresses to other gateways has
// no block for a packet that one of them, who had not heard it yet, handed on: the endpoint is not told, and says it again.
func (t *Translator) refused(endpoint netip.Addr, s nat64.Shortage) {
	t.count.refused[s.String()]++
	if t.mute = s == nat64.NoBlock && t.group != nil && !t.group.Owns(t.group.Home(endpoint)); t.mute {
		return
	}
	if last, ok := t.denied[endpoint]; ok && now()-last < 60 {
		return
	}
	t.denied[endpoint] = now()
	r := Record{Event: EventPoolExhausted, Endpoint: endpoint}
	if s == nat64.AtQuota {
		r = Record{Event: EventQuota, Endpoint: endpoint, Quota: 3, Limit: t.config.Blocks * nat64.BlockSize}
	}
	t.note(r)
	t.log.Warn("an endpoint gets no port of the pool", "endpoint", endpoint, "why", s.String())
}

// tick ends what is over.
func (t *Translator) tick(stop <-chan struct{}) {
	every, tell := time.NewTicker(time.Second), time.NewTicker(tellEvery)
	defer every.Stop()
	defer tell.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-t.grouped:
			tell.Reset(tellEvery)
			continue
		case <-tell.C:
			if !t.together() {
				tell.Stop()
			}
			continue
		case <-every.C:
		}
		t.mu.Lock()
		t.count.lost += uint64(t.waiting.forget(now()))
		if t.grants != nil && t.problem != nil && !t.left {
			t.written(t.grants.flush())
		}
		if t.table != nil {
			t.table.Advance(now())
			if n%10 == 0 {
				t.table.Expire()
			} else {
				t.table.Merge()
			}
			t.watchQuota()
			if n%60 == 0 {
				t.kept.forget(now())
			}
		}
		t.mu.Unlock()
	}
}

// alertAt is the share of its quota, in percent, above which an endpoint is told of; below alertEnd it is told of again.
const (
	alertAt  = 80
	alertEnd = 70
)

// watchQuota tells of endpoints that come near their quota.
func (t *Translator) watchQuota() {
	most := t.config.Blocks * nat64.BlockSize
	near := map[netip.Addr]bool{}
	t.table.Usage(func(endpoint netip.Addr, u nat64.Usage) {
		switch share := u.Most() * 100 / most; {
		case share >= alertAt && !t.alerted[endpoint]:
			t.log.Warn("an endpoint comes near its quota of ports", "endpoint", endpoint, "bindings", u.Most(), "quota", most)
			t.note(Record{Event: EventThreshold, Endpoint: endpoint, Threshold: 4, Limit: most})
			near[endpoint] = true
		case share >= alertEnd && t.alerted[endpoint]:
			near[endpoint] = true
		}
	})
	t.alerted = near
	for endpoint, last := range t.denied {
		if now()-last >= 60 {
			delete(t.denied, endpoint)
		}
	}
}

func (t *Translator) now() nat64.Seconds { return now() }
