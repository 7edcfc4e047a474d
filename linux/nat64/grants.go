package nat64

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
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
	// Gateway is who granted or took back; empty: this one. Gateways are those that translate from now on, in a record without event.
	Gateway  string   `json:"observationDomainName,omitempty"`
	Gateways []string `json:"gateways,omitempty"`
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
	open := map[nat64.Block]nat64.Grant{}
	for _, r := range records {
		b := nat64.Block{Addr: r.Addr, First: r.First}
		switch {
		case r.Event == EventGranted && r.Gateway == "":
			open[b] = nat64.Grant{Block: b, Endpoint: r.Endpoint, From: ago(r.Time)}
		case r.Event == EventGranted || r.Event == EventReturned && r.Gateway == "": // it is over, or goes on at another gateway
			delete(open, b)
		}
	}
	return g, slices.SortedFunc(maps.Values(open), func(a, b nat64.Grant) int { return cmp.Compare(a.From, b.From) }), nil
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
		if json.Unmarshal(line, &rec) == nil && (rec.Event != 0 || rec.Gateways != nil) {
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

// record is that of a block.
func record(event int, gateway string, b nat64.Block, endpoint netip.Addr) Record {
	return Record{Event: event, Gateway: gateway, Endpoint: endpoint, Addr: b.Addr, First: b.First, Last: b.First + nat64.BlockSize - 1}
}

// Had is who had a port of the pool.
type Had struct {
	Endpoint netip.Addr `json:"endpoint"`
	Block    string     `json:"block"`
	From     time.Time  `json:"from"`
	To       time.Time  `json:"to,omitzero"`       // zero: it still has it
	Gateway  string     `json:"gateway,omitempty"` // that translated for it; empty: this one
}

// Who answers who had a port of an address at a time, from a log of grants; false: nobody. A block goes on with its endpoint when another gateway
// grants it what it had, and only who granted it last takes it back.
func Who(list []Record, addr netip.Addr, port uint16, at time.Time) (h Had, found bool) {
	gateway := "" // that granted it last
	for _, r := range list {
		if r.Addr != addr || port < r.First || port > r.Last {
			continue
		}
		switch over := r.Time.After(at); {
		case r.Event == EventGranted && found && r.Endpoint == h.Endpoint && h.To.IsZero():
			if gateway = r.Gateway; !over {
				h.Gateway = gateway
			}
		case r.Event == EventGranted && !over:
			h, found = Had{Endpoint: r.Endpoint, Block: nat64.Block{Addr: r.Addr, First: r.First}.String(), From: r.Time, Gateway: r.Gateway}, true
			gateway = r.Gateway
		case r.Event == EventReturned && r.Gateway != gateway: // it went on elsewhere
		case r.Event == EventReturned && !over:
			h, found = Had{}, false
		case found && h.To.IsZero():
			h.To = r.Time
		}
	}
	return h, found
}
