package main

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPrintAllEndpoints(t *testing.T) {
	list := []clusterEndpoint{
		{Namespace: "shop", Name: "web-0", Host: "n1", Identity: 0x101, State: "Running",
			Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:20:1:101:38c:d99e:0"), netip.MustParseAddr("198.51.100.7")}},
		{Namespace: "shop", Name: "web-1", State: "Pending", Addrs: []netip.Addr{}},
	}
	var b strings.Builder
	if err := printAllEndpoints(&b, formatTable, list); err != nil {
		t.Fatal(err)
	}
	const want = `NAMESPACE POD ADDRESS IDENTITY HOST STATE
shop web-0 2001:db8:20:1:101:38c:d99e:0,198.51.100.7 0x0101 n1 running
shop web-1 - 0x0000 - pending
`
	var have strings.Builder
	for line := range strings.Lines(b.String()) {
		have.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	if have.String() != want {
		t.Errorf("have\n%s\nwant\n%s", have.String(), want)
	}
	b.Reset()
	if err := printAllEndpoints(&b, formatJSON, list); err != nil || !strings.Contains(b.String(), `"addrs": []`) {
		t.Errorf("%v: %s", err, b.String())
	}
}
