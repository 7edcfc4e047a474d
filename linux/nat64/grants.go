package nat64

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"

	"hexapod.dev/model/xlat/nat64"
)

// Events of NAT devices (IANA registry natEvent, RFC 8158 5.6).
const (
	EventPoolExhausted = 12
	EventQuota         = 13
	EventGranted       = 16 // port block allocation
	EventReturned      = 17 // port block de-allocation
	EventThreshold     = 18
)

// Record is a line of the log of grants, with the names of the information elements of RFC 8158 and its registry.
type Record struct {
	Time     time.Time  `json:"observationTimeMilliseconds"`
	Event    int        `json:"natEvent"`
	Endpoint netip.Addr `json:"sourceIPv6Address,omitzero"`
	Addr     netip.Addr `json:"postNATSourceIPv4Address,omitzero"`
	First    uint16     `json:"portRangeStart,omitempty"`
	Last     uint16     `json:"portRangeEnd,omitempty"`
	// Quota is set with EventQuota (natQuotaExceededEvent 3: entries per user), Threshold with EventThreshold (natThresholdEvent 4: address
	// and port mappings of one user).
	Quota     int `json:"natQuotaExceededEvent,omitempty"`
	Threshold int `json:"natThresholdEvent,omitempty"`
	Limit     int `json:"maxEntriesPerUser,omitempty"`
}

// Grants is the log of grants: who had which block, from when to when.
type Grants struct {
	file io.ReadWriter
}

// Open reads the log that is there and returns the grants that have not ended. A last line that was cut by a crash is passed over; the
// next record begins a line of its own.
func openGrants(f io.ReadWriter) (g *Grants, living []nat64.Grant, err error) {
	records, whole, err := ReadRecords(f)
	if err != nil {
		return nil, nil, err
	}
	g = &Grants{file: f}
	if !whole {
		if _, err := io.WriteString(f, "\n"); err != nil {
			return nil, nil, fmt.Errorf("log of NAT64 grants: %w", err)
		}
	}
	byBlock := map[nat64.Block]int{}
	for _, r := range records {
		b := nat64.Block{Addr: r.Addr, First: r.First}
		switch r.Event {
		case EventGranted:
			byBlock[b] = len(living)
			living = append(living, nat64.Grant{Block: b, Endpoint: r.Endpoint, From: ago(r.Time)})
		case EventReturned:
			if i, ok := byBlock[b]; ok {
				living[i].To = 1 // ended
				delete(byBlock, b)
			}
		}
	}
	open := living[:0]
	for i, l := range living {
		if j, ok := byBlock[l.Block]; ok && i == j {
			open = append(open, l)
		}
	}
	return g, open, nil
}

// ago is a moment of the wall clock on the clock of the table.
func ago(t time.Time) nat64.Seconds { return now() - nat64.Seconds(time.Since(t)/time.Second) }

// ReadRecords reads a log of grants. whole is false when its last line has no end.
func ReadRecords(r io.Reader) (list []Record, whole bool, err error) {
	b := bufio.NewReader(r)
	for whole = true; ; {
		line, err := b.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return list, whole, nil
		}
		if err != nil && err != io.EOF {
			return nil, false, fmt.Errorf("log of NAT64 grants: %w", err)
		}
		whole = err == nil
		var rec Record
		if json.Unmarshal(line, &rec) == nil && rec.Event != 0 {
			list = append(list, rec)
		}
	}
}

// write adds a record. Each is one write of one line, so that it is there or not after the end of the process.
func (g *Grants) write(r Record) error {
	r.Time = time.Now().UTC().Truncate(time.Millisecond)
	b, err := json.Marshal(r)
	if err == nil {
		_, err = g.file.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("log of NAT64 grants: %w", err)
	}
	return nil
}

// tell writes a grant or its end.
func (g *Grants) tell(b nat64.Grant) error {
	event := EventGranted
	if b.To != 0 {
		event = EventReturned
	}
	return g.write(Record{Event: event, Endpoint: b.Endpoint, Addr: b.Block.Addr, First: b.Block.First, Last: b.Block.First + nat64.BlockSize - 1})
}

// Had is who had a port of the pool.
type Had struct {
	Endpoint netip.Addr `json:"endpoint"`
	Block    string     `json:"block"`
	From     time.Time  `json:"from"`
	To       time.Time  `json:"to,omitzero"` // zero: it still has it
}

// Who answers who had a port of an address at a time, from a log of grants; false: nobody.
func Who(list []Record, addr netip.Addr, port uint16, at time.Time) (h Had, found bool) {
	for _, r := range list {
		switch {
		case r.Addr != addr || port < r.First || port > r.Last:
		case r.Event == EventGranted && !r.Time.After(at):
			h = Had{Endpoint: r.Endpoint, Block: nat64.Block{Addr: r.Addr, First: r.First}.String(), From: r.Time}
			found = true
		case r.Event == EventReturned && found && !r.Time.After(at):
			h, found = Had{}, false
		case r.Event == EventReturned && found && h.To.IsZero():
			h.To = r.Time
		}
	}
	return h, found
}
