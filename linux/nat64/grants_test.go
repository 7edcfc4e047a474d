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
	g, living, err := openGrants(&file)
	if err != nil || len(living) != 0 {
		t.Fatal(living, err)
	}
	block := nat64.Block{Addr: poolAddr, First: 2048}
	other := netip.MustParseAddr("2001:db8:1::6")
	begun := time.Now().Add(-time.Second)
	for _, grant := range []nat64.Grant{{Block: block, Endpoint: endpointAddr}, {Block: block, Endpoint: endpointAddr, To: 1}, {Block: block, Endpoint: other}} {
		if err := g.tell(grant); err != nil {
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
	if _, living, err = openGrants(cut); err != nil || len(living) != 1 || living[0].Endpoint != other {
		t.Errorf("living %v, %v", living, err)
	}
}
