package dns

import (
	"net"
	"testing"
	"time"
)

// A port asks one question at a time, no more than portUses, and for no longer than portLife.
func TestPorts_RFC5452_9_2(t *testing.T) {
	l, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &ports{to: l.LocalAddr().(*net.UDPAddr).AddrPort()}
	defer p.close()
	now := time.Unix(1_000_000, 0)
	take := func() *port {
		t.Helper()
		c, err := p.take(now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	held := map[string]bool{}
	var all []*port
	for range 50 {
		c := take()
		if at := c.LocalAddr().String(); held[at] {
			t.Errorf("two questions at %s", at)
		} else {
			held[at] = true
		}
		all = append(all, c)
	}
	for _, c := range all {
		p.give(c)
	}
	again := map[*port]bool{}
	for range 20 {
		c := take()
		again[c] = true
		if !held[c.LocalAddr().String()] {
			t.Error("a new one is opened while others are at rest")
		}
		p.give(c)
	}
	if len(again) < 3 {
		t.Errorf("of 50 ports %d were taken in 20 questions: they are not drawn at random", len(again))
	}
	now = now.Add(portLife)
	c := take()
	if len(p.idle) != 0 || again[c] {
		t.Errorf("%d ports stand open beyond their time", len(p.idle)+1)
	}
	for i := range portUses {
		p.give(c)
		if next := take(); (next == c) != (i < portUses-1) {
			t.Fatalf("after %d questions the same port: %v", i+1, next == c)
		}
	}
}
