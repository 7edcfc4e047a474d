package service

import (
	"net/netip"
	"slices"
	"testing"

	"hexapod.dev/model/transport"
)

// A port that is answered on this host leads there, for addresses of its family; the other ports and families lead to endpoints.
func TestHere(t *testing.T) {
	here := netip.MustParseAddrPort("[2001:db8:1::1]:53")
	s := Source{
		Service: Service{Name: Name{Namespace: "kube-system", Name: "kube-dns"}, VIPs: []netip.Addr{netip.MustParseAddr("2001:db8::a"), netip.MustParseAddr("192.0.2.10")},
			Ports: []Port{{Name: "dns", Protocol: transport.UDP, Port: 53}, {Name: "metrics", Protocol: transport.TCP, Port: 9153}}, Here: map[uint16]netip.AddrPort{53: here}},
		Slices: []Slice{{Ports: []SlicePort{{Name: "dns", Protocol: transport.UDP, Port: 5353}, {Name: "metrics", Protocol: transport.TCP, Port: 9153}},
			Endpoints: []Endpoint{{Addr: netip.MustParseAddr("2001:db8:2::1"), State: Ready | Serving}, {Addr: netip.MustParseAddr("192.0.2.20"), State: Ready | Serving}}}},
	}
	got := map[string][]netip.AddrPort{}
	list, why := For(s, Place{})
	for _, f := range list {
		got[f.Key.String()] = f.Backends
	}
	for key, want := range map[string]string{
		"[2001:db8::a]:53 UDP": here.String(), "[2001:db8::a]:9153 TCP": "[2001:db8:2::1]:9153",
		"192.0.2.10:53 UDP": "192.0.2.20:5353", "192.0.2.10:9153 TCP": "192.0.2.20:9153",
	} {
		if !slices.Equal(got[key], []netip.AddrPort{netip.MustParseAddrPort(want)}) {
			t.Errorf("%s leads to %v, want %s (%v)", key, got[key], want, got)
		}
	}
	if why != "" {
		t.Error(why)
	}
	for _, f := range list { // while nobody listens there, the endpoints answer
		want := map[string][]netip.AddrPort{"[2001:db8::a]:53 UDP": {netip.MustParseAddrPort("[2001:db8:2::1]:5353")}}[f.Key.String()]
		if !slices.Equal(f.Elsewhere, want) {
			t.Errorf("%s leads elsewhere to %v, want %v", f.Key, f.Elsewhere, want)
		}
	}
	answering := []netip.AddrPort{netip.MustParseAddrPort("[2001:db8:2::1]:5353"), netip.MustParseAddrPort("192.0.2.20:5353")}
	if all := Answering(s, 53, transport.UDP); !slices.Equal(all, answering) {
		t.Errorf("answering are %v", all)
	}
	if all := Answering(s, 53, transport.TCP); all != nil {
		t.Errorf("a port it does not have: %v", all)
	}
}
