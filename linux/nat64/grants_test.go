package nat64

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hexapod.dev/model/xlat/nat64"
)

// S14: grants are written with the names of RFC 8158, and answer who had a port, then and now; a line that a crash cut harms none.
func TestRFC8158_GrantsAnswerWho(t *testing.T) {
	var file bytes.Buffer
	g, living, err := openGrants(&file, nil)
	if err != nil || len(living) != 0 {
		t.Fatal(living, err)
	}
	block := nat64.Block{Addr: poolAddr, First: 2048}
	other := netip.MustParseAddr("2001:db8:1::6")
	begun := time.Now().Add(-time.Second)
	for _, r := range []Record{record(EventGranted, "", block, endpointAddr), record(EventReturned, "", block, endpointAddr), record(EventGranted, "", block, other)} {
		if err := g.write(r); err != nil {
			t.Fatal(err)
		}
	}
	text := file.String()
	for _, name := range []string{`"natEvent":16`, `"natEvent":17`, "observationTimeMilliseconds", `"sourceIPv6Address":"2001:db8:1::5"`,
		`"postNATSourceIPv4Address":"45.0.0.1"`, `"portRangeStart":2048`, `"portRangeEnd":3071`} {
		if !strings.Contains(text, name) {
			t.Errorf("the log lacks %s:\n%s", name, text)
		}
	}
	cut := bytes.NewBufferString(text + `{"natEvent":16,"sourceIP`)
	records, whole, err := ReadRecords(bytes.NewReader(cut.Bytes()))
	if err != nil || whole || len(records) != 3 {
		t.Fatalf("%d records, whole %v, %v", len(records), whole, err)
	}
	if h, found := Who(records, poolAddr, 2050, time.Now().Add(time.Second)); !found || h.Endpoint != other {
		t.Errorf("now: %v %v", h, found)
	}
	if _, found := Who(records, poolAddr, 2050, begun); found {
		t.Error("somebody had it before")
	}
	if _, found := Who(records, poolAddr, 3072, time.Now()); found {
		t.Error("somebody has the next block")
	}
	if _, living, err = openGrants(cut, nil); err != nil || len(living) != 1 || living[0].Endpoint != other {
		t.Errorf("living %v, %v", living, err)
	}
}

// Who had a port is answered by the log of any gateway that was told, whoever translated: a block that goes from one to the other and back
// stays with its endpoint, and one that did not go on is over.
func TestWhoAmongGateways(t *testing.T) {
	first, next := nat64.Block{Addr: poolAddr, First: 2048}, nat64.Block{Addr: poolAddr, First: 3072}
	other := netip.MustParseAddr("2001:db8:1::6")
	begin := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var list []Record
	for i, r := range []Record{
		record(EventGranted, "g2", first, endpointAddr), // second 0: g2 told
		record(EventGranted, "g2", next, other),
		{Gateways: []string{"g1", "g3"}},              // 2: g2 is gone
		record(EventGranted, "", first, endpointAddr), // 3: it goes on here
		record(EventReturned, "g2", next, other),
		{Gateways: []string{"g1", "g2", "g3"}},
		record(EventGranted, "g2", first, endpointAddr), // 6: it goes on there
		record(EventReturned, "", first, endpointAddr),  // 7: that does not end it
		record(EventReturned, "g2", first, endpointAddr),
		record(EventGranted, "g2", first, other), // 9
	} {
		r.Time = begin.Add(time.Duration(i) * time.Second)
		list = append(list, r)
	}
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second) }
	for _, c := range []struct {
		second int
		port   uint16
		want   Had // without the block; nobody: zero
	}{
		{-1, 2048, Had{}},
		{1, 2048, Had{Endpoint: endpointAddr, From: at(0), To: at(8), Gateway: "g2"}},
		{4, 3071, Had{Endpoint: endpointAddr, From: at(0), To: at(8)}},
		{7, 2048, Had{Endpoint: endpointAddr, From: at(0), To: at(8), Gateway: "g2"}},
		{8, 2048, Had{}},
		{9, 2048, Had{Endpoint: other, From: at(9), Gateway: "g2"}},
		{3, 3072, Had{Endpoint: other, From: at(1), To: at(4), Gateway: "g2"}},
		{5, 3072, Had{}},
	} {
		h, found := Who(list, poolAddr, c.port, at(c.second))
		if h.Block = ""; h != c.want || found != c.want.Endpoint.IsValid() {
			t.Errorf("port %d in second %d: %+v, %v, want %+v", c.port, c.second, h, found, c.want)
		}
	}
	var file bytes.Buffer
	g, _, _ := openGrants(&file, nil)
	for _, r := range list[:7] {
		if err := g.write(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, living, err := openGrants(&file, nil); err != nil || len(living) != 0 {
		t.Errorf("what goes on elsewhere is taken up: %v, %v", living, err)
	}
}

// What a segment carries tells nothing that the segments before it tell better: who granted first.
func TestWhoAcrossSegments(t *testing.T) {
	begin := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	here := record(EventGranted, "", block(2), endpointAddr)
	there := record(EventGranted, "g2", block(2), endpointAddr)
	here.Time, there.Time = begin, begin.Add(time.Minute)
	carried := there
	carried.Time, carried.Carried = here.Time, true
	for _, c := range []struct {
		list    []Record
		minutes time.Duration
		want    string
	}{
		{[]Record{here, there, carried}, 0, ""},
		{[]Record{here, there, carried}, 2, "g2"},
		{[]Record{carried}, 0, "g2"},
	} {
		h, found := Who(c.list, poolAddr, 2048, begin.Add(c.minutes*time.Minute))
		if !found || h.Gateway != c.want || h.From != begin || h.Endpoint != endpointAddr || !h.To.IsZero() {
			t.Errorf("minute %d of %d records: %+v, %v", c.minutes, len(c.list), h, found)
		}
	}
}
