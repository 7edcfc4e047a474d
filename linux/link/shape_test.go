package link

import (
	"strings"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/desired"
)

func TestBandwidth(t *testing.T) {
	netnstest.Root(t)
	h := newHost(t)
	ns := netnstest.New(t)
	l, r, n := endpoint(1, ns, "eth0")
	l.Bandwidth = desired.Bandwidth{Ingress: desired.Rate{Bits: 8_000_000}, Egress: desired.Rate{Bits: 80_000_000_000}}
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context(), l); err != nil {
		t.Error(err)
	}
	if out := netnstest.Run(t, h.ns, "tc qdisc show dev "+l.Name); !strings.HasPrefix(out, "qdisc tbf ce: root") || !strings.Contains(out, "rate 8Mbit") {
		t.Errorf("towards the endpoint: %s", out)
	}
	if out := netnstest.Run(t, ns, "tc qdisc show dev eth0"); !strings.HasPrefix(out, "qdisc tbf ce: root") || !strings.Contains(out, "rate 80Gbit") {
		t.Errorf("from the endpoint: %s", out)
	}
	// Programs of clsact hang beside it.
	netnstest.Run(t, h.ns, "tc qdisc add dev "+l.Name+" clsact")
	if err := h.add(l, r, n); err != nil {
		t.Errorf("again, beside clsact: %v", err)
	}
	if out := netnstest.Run(t, h.ns, "tc qdisc show dev "+l.Name); !strings.Contains(out, "clsact") {
		t.Errorf("clsact has gone: %s", out)
	}
	netnstest.Run(t, ns, "ping -c1 -W5 fe80::1%eth0")

	netnstest.Run(t, h.ns, "tc qdisc del dev "+l.Name+" root")
	if err := h.Check(t.Context(), l); err == nil || !strings.Contains(err.Error(), "a bound of 8000000 bit/s") {
		t.Errorf("Check without the bound: %v", err)
	}
	if err := h.add(l, r, n); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context(), l); err != nil {
		t.Error(err)
	}
}
