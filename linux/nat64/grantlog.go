package nat64

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"hexapod.dev/model/xlat/nat64"
)

// mostWaiting bounds, in bytes, the lines that wait for room on the disk: some 5,000.
const mostWaiting = 1 << 20

// Grants is the log of grants: who had which block, from when to when. It is a row of segments, the last of which is written.
type Grants struct {
	file     io.Writer
	number   uint64 // of its segment; 0: the first one
	held     map[nat64.Block]holder
	gateways []string // those that translate, as was written last
	waiting  []byte   // lines, or lines but a begin, that the disk did not take
	lost     uint64   // lines that did not fit there
	problem  error
}

// holder is who has a block that was granted and not returned, as Who sees it.
type holder struct {
	endpoint netip.Addr
	gateway  string // that granted it last
	from     time.Time
}

// segmentFile is a file in which a segment can begin.
type segmentFile interface {
	io.ReadWriter
	Truncate(size int64) error
}

// openGrants reads the segment that is written, and what the translator before could not write to it, and returns the grants that have not
// ended. A last line that was cut by a crash is passed over; the next record begins a line of its own.
func openGrants(f io.ReadWriter, left []byte) (g *Grants, living []nat64.Grant, err error) {
	g = &Grants{file: f, held: map[nat64.Block]holder{}, waiting: bytes.Clone(left)}
	whole, err := eachRecord(io.MultiReader(f, bytes.NewReader(left)), func(r Record) bool {
		g.see(r)
		g.number = max(g.number, r.Segment)
		return true
	})
	if err != nil {
		return nil, nil, err
	}
	if !whole {
		g.waiting = append(g.waiting, '\n')
	}
	_ = g.flush() // a full disk is told with the next record, and packets go on
	for b, h := range g.held {
		if h.gateway == "" {
			living = append(living, nat64.Grant{Block: b, Endpoint: h.endpoint, From: ago(h.from)})
		}
	}
	slices.SortFunc(living, func(a, b nat64.Grant) int {
		return cmp.Or(cmp.Compare(a.From, b.From), a.Block.Addr.Compare(b.Block.Addr), cmp.Compare(a.Block.First, b.Block.First))
	})
	return g, living, nil
}

// ago is a moment of the wall clock on the clock of the table.
func ago(t time.Time) nat64.Seconds { return now() - nat64.Seconds(time.Since(t)/time.Second) }

// see notes what a record changes.
func (g *Grants) see(r Record) {
	b := nat64.Block{Addr: r.Addr, First: r.First}
	h, had := g.held[b]
	switch {
	case r.Gateways != nil:
		g.gateways = r.Gateways
	case r.Event == EventGranted && had && h.endpoint == r.Endpoint: // it goes on with it
		h.gateway = r.Gateway
		g.held[b] = h
	case r.Event == EventGranted:
		g.held[b] = holder{r.Endpoint, r.Gateway, r.Time}
	case r.Event == EventReturned && h.gateway == r.Gateway: // else it went on elsewhere
		delete(g.held, b)
	}
}

// write adds a record. Each is one write of one line, so that it is there or not after the end of the process. A line that the disk does
// not take is written later, behind those that wait.
func (g *Grants) write(r Record) error {
	r.Time = time.Now().UTC().Truncate(time.Millisecond)
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("log of NAT64 grants: %w", err)
	}
	g.see(r)
	if len(g.waiting)+len(line) >= mostWaiting {
		if err := g.flush(); err != nil {
			g.lost++
			return err
		}
	}
	g.waiting = append(append(g.waiting, line...), '\n')
	return g.flush()
}

// flush writes what waits.
func (g *Grants) flush() error {
	g.problem = nil
	if len(g.waiting) == 0 {
		return nil
	}
	n, err := g.file.Write(g.waiting)
	g.waiting = g.waiting[:copy(g.waiting, g.waiting[n:])] // of a line that was cut the rest
	if err != nil {
		g.problem = fmt.Errorf("log of NAT64 grants: %w; lines wait in memory: make room, nothing needs to be restarted", err)
	}
	return g.problem
}

// behind tells how many lines wait for room, and how many found none among them.
func (g *Grants) behind() (waiting int, lost uint64) {
	return bytes.Count(g.waiting, []byte{'\n'}), g.lost
}

// begin goes on in the segment of a number: the grants that have not ended are said again there, and then nothing is written to the one
// before any more. A segment counts only with the record that ends this, so that one which a crash or a full disk cut is none.
func (g *Grants) begin(number uint64, f segmentFile) (taken bool, err error) {
	switch {
	case number == g.number:
		return false, nil
	case number < g.number:
		return false, fmt.Errorf("log of NAT64 grants: segment %d is over, %d is written", number, g.number)
	}
	if err := g.flush(); err != nil { // a line must not begin in one and end in the other
		return false, err
	}
	begun := false
	if _, err := eachRecord(f, func(r Record) bool { begun = begun || r.Segment != 0; return !begun }); err != nil {
		return false, err
	}
	if begun {
		return false, fmt.Errorf("log of NAT64 grants: segment %d was begun by another translator; %d is written", number, g.number)
	}
	if err = f.Truncate(0); err == nil {
		if err = g.carry(number, f); err != nil {
			err = errors.Join(err, f.Truncate(0))
		}
	}
	if err != nil {
		return false, fmt.Errorf("log of NAT64 grants: segment %d is not begun, %d goes on: %w", number, g.number, err)
	}
	g.file, g.number = f, number
	return true, nil
}

// carry writes the begin of a segment.
func (g *Grants) carry(number uint64, f io.Writer) error {
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	at := time.Now().UTC().Truncate(time.Millisecond)
	if g.gateways != nil {
		if err := lines.Encode(Record{Time: at, Gateways: g.gateways, Carried: true}); err != nil {
			return err
		}
	}
	for _, b := range slices.SortedFunc(maps.Keys(g.held), func(a, b nat64.Block) int {
		return cmp.Or(g.held[a].from.Compare(g.held[b].from), a.Addr.Compare(b.Addr), cmp.Compare(a.First, b.First))
	}) {
		h := g.held[b]
		r := record(EventGranted, h.gateway, b, h.endpoint)
		r.Time, r.Carried = h.from, true
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	if err := lines.Encode(Record{Time: at, Segment: number}); err != nil {
		return err
	}
	return w.Flush()
}
