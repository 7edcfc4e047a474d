package nat64

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// named is what was counted, in words.
func (c *counted) named() Counts {
	names := func(list *[64]uint64) map[string]uint64 {
		m := map[string]uint64{}
		for why, n := range list {
			if n != 0 {
				m[xlat.Why(why).String()] = n
			}
		}
		return m
	}
	return Counts{To4: names(&c.to4), To6: names(&c.to6), Answers: c.answers, Refused: maps.Clone(c.refused), Lost: c.lost}
}

// Status is what a translator holds.
type Status struct {
	Prefixes  []netip.Prefix `json:"prefixes"`
	Bindings  int            `json:"bindings"`
	Sessions  int            `json:"sessions"` // of TCP
	Most      int            `json:"most"`     // bindings that fit
	Quota     int            `json:"quota"`    // bindings of each protocol that an endpoint can have
	Free      int            `json:"freeBlocks"`
	Fast      int            `json:"fast"` // flows that the fast path knows
	Slow      uint64         `json:"slow"` // flows that did not fit there
	Counts    Counts         `json:"counts"`
	Near      int            `json:"near"`      // endpoints at 80 % of their quota or above
	Endpoints []Endpoint     `json:"endpoints"` // fullest first
	Blocks    []Held         `json:"blocks"`
	Together  *Together      `json:"together,omitempty"` // nil: it translates alone
	Unwritten int            `json:"unwrittenGrants"`    // lines of the log of grants that wait for room on the disk
	LostLines uint64         `json:"lostGrants"`         // lines that found no room among them, since it began
	Problem   string         `json:"problem,omitempty"`
}

// Sign is what a translator that does its work says of itself.
type Sign struct {
	Others int `json:"others"` // gateways that live beside it, and go on for it
}

// Sign returns when the work goes on: between two bursts of packets, and after what else takes them all. A translator that waits for its
// configuration is an error.
func (t *Translator) Sign() (Sign, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.engine == nil {
		return Sign{}, errors.New("the translator was told nothing yet")
	}
	var s Sign
	if t.group != nil {
		for _, name := range t.group.Living() {
			if name != t.config.Gateway {
				s.Others++
			}
		}
	}
	return s, nil
}

// Endpoint is what one endpoint uses.
type Endpoint struct {
	Addr netip.Addr `json:"address"`
	TCP  int32      `json:"tcp"`
	UDP  int32      `json:"udp"`
	ICMP int32      `json:"icmp"`
	Near bool       `json:"near,omitempty"` // 80 % of its quota or more
}

// Held is a block that an endpoint has.
type Held struct {
	Block    string     `json:"block"`
	Endpoint netip.Addr `json:"endpoint"`
	Seconds  int64      `json:"seconds"` // how long it has had it
}

// Status returns what the translator holds. Of endpoints and blocks it names at most top.
func (t *Translator) Status(top int) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{Counts: t.count.named()}
	if t.table == nil {
		return s
	}
	s.Prefixes, s.Most, s.Quota, s.Free = t.config.Prefixes, t.config.Bindings, t.config.Blocks*nat64.BlockSize, t.blocks.Free()
	s.Bindings, s.Sessions = t.table.Len()
	if t.fast != nil {
		s.Fast, s.Slow = t.fast.Len()
	}
	s.Near = len(t.alerted)
	s.Unwritten, s.LostLines = t.grants.behind()
	s.Together = t.group.status(&t.kept, t.config, top)
	if t.problem != nil {
		s.Problem = t.problem.Error()
	}
	t.table.Usage(func(a netip.Addr, u nat64.Usage) {
		s.Endpoints = append(s.Endpoints, Endpoint{a, u.TCP, u.UDP, u.ICMP, t.alerted[a]})
	})
	slices.SortFunc(s.Endpoints, func(a, b Endpoint) int {
		if n := int(b.TCP+b.UDP+b.ICMP) - int(a.TCP+a.UDP+a.ICMP); n != 0 {
			return n
		}
		return a.Addr.Compare(b.Addr)
	})
	s.Endpoints = s.Endpoints[:min(top, len(s.Endpoints))]
	for _, g := range t.blocks.Living() {
		if len(s.Blocks) == top {
			break
		}
		s.Blocks = append(s.Blocks, Held{g.Block.String(), g.Endpoint, int64(now() - g.From)})
	}
	return s
}

// Entries returns at most n bindings.
func (t *Translator) Entries(n int) (list []nat64.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.table == nil {
		return nil
	}
	t.table.Entries(func(e nat64.Entry) bool {
		list = append(list, e)
		return len(list) < n
	})
	return list
}
