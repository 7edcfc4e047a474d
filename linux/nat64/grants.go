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
	Event    int        `json:"natEvent,omitempty"`
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
	// Carried is a record of a segment before, which is said again because it holds on. Segment is the number of the one that begins: all
	// that it carries stands before this record.
	Carried bool   `json:"carried,omitempty"`
	Segment uint64 `json:"segment,omitempty"`
}

// ReadRecords reads a log of grants. whole is false when its last line has no end.
func ReadRecords(r io.Reader) (list []Record, whole bool, err error) {
	whole, err = eachRecord(r, func(r Record) bool {
		list = append(list, r)
		return true
	})
	if err != nil {
		return nil, false, err
	}
	return list, whole, nil
}

// eachRecord visits the records of a log of grants until visit wants no more. Lines that a crash cut are passed over.
func eachRecord(r io.Reader, visit func(Record) bool) (whole bool, err error) {
	b := bufio.NewReader(r)
	for whole = true; ; {
		line, err := b.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return whole, nil
		}
		if err != nil && err != io.EOF {
			return false, fmt.Errorf("log of NAT64 grants: %w", err)
		}
		whole = err == nil
		var rec Record
		if json.Unmarshal(line, &rec) == nil && (rec.Event != 0 || rec.Gateways != nil || rec.Segment != 0) && !visit(rec) {
			return whole, nil
		}
	}
}

// record is that of a block.
func record(event int, gateway string, b nat64.Block, endpoint netip.Addr) Record {
	return Record{Event: event, Gateway: gateway, Endpoint: endpoint, Addr: b.Addr, First: b.First, Last: b.First + nat64.BlockSize - 1}
}

// about reports whether a record is about a block, and that has a port.
func (r Record) about(addr netip.Addr, port uint16) bool {
	return r.Addr == addr && port >= r.First && port <= r.Last
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
	known := false
	for _, r := range list {
		if !r.about(addr, port) || r.Carried && known { // the segment before said it
			continue
		}
		known = true
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
