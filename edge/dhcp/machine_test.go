package dhcp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/dhcp"
)

var (
	begin  = time.Unix(1_800_000_000, 0)
	host   = dhcp.DUID([6]byte{2, 0, 0, 0, 0, 1})
	server = dhcp.DUID([6]byte{2, 0, 0, 0, 0, 2})
	other  = dhcp.DUID([6]byte{2, 0, 0, 0, 0, 3})

	first  = netip.MustParsePrefix("2001:db8:60::/64")
	second = netip.MustParsePrefix("2001:db8:61::/64")
)

const iaid = 7

// event is one line of a table: what happens at a time, and what the machine does then.
type event struct {
	at   time.Duration
	e    dhcp.Event
	send string     // the message with server and prefixes; empty: none
	is   dhcp.State // afterwards
}

// offer is a prefix with lifetimes in seconds.
func offer(p netip.Prefix, preferred, valid time.Duration) dhcp.Offer {
	return dhcp.Offer{Prefix: p, Preferred: preferred * time.Second, Valid: valid * time.Second}
}

// answer makes the message of a server. T1 and T2 are in seconds. Transaction and client are filled in when it is played.
func answer(k dhcp.Kind, from []byte, t1, t2 time.Duration, offers ...dhcp.Offer) dhcp.Event {
	return dhcp.Event{Message: &dhcp.Message{Kind: k, Server: from, Client: host,
		IA: &dhcp.IA{ID: iaid, T1: t1 * time.Second, T2: t2 * time.Second, Prefixes: offers}}}
}

// with changes an answer.
func with(e dhcp.Event, change func(*dhcp.Message)) dhcp.Event {
	change(e.Message)
	return e
}

// said writes a message as the tables have it.
func said(m *dhcp.Message) string {
	if m == nil {
		return ""
	}
	s := m.Kind.String()
	switch string(m.Server) {
	case string(server):
		s += " to server"
	case string(other):
		s += " to other"
	}
	for _, o := range m.IA.Prefixes {
		s += " " + o.Prefix.String()
	}
	return s
}

// half is chance in the middle: no spread, and half a second of delay before the first Solicit.
func half() float64 { return 0.5 }

// play runs a table against a machine. Answers carry the transaction of the last message unless they name one.
func play(t *testing.T, m *dhcp.Machine, run []event) {
	t.Helper()
	var transaction [3]byte
	for i, step := range run {
		if step.e.Message != nil && step.e.Message.Transaction == [3]byte{} {
			step.e.Message.Transaction = transaction
		}
		out := m.Step(begin.Add(step.at), step.e)
		if out != nil {
			transaction = out.Transaction
		}
		if have := said(out); have != step.send || m.State() != step.is {
			t.Fatalf("line %d at %s: sent %q and is %s, want %q and %s", i, step.at, have, m.State(), step.send, step.is)
		}
	}
}

const sec = time.Second

var start = dhcp.Event{Start: true}

// bound is how every life begins: the lease has T1 50 s, T2 80 s, preferred 100 s, valid 200 s, all counted from second 2.
var bound = []event{
	{0, start, "", dhcp.Soliciting},
	{500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
	{sec, answer(dhcp.Advertise, server, 50, 80, offer(first, 100, 200)), "", dhcp.Soliciting},
	{1500 * time.Millisecond, dhcp.Event{}, "Request to server 2001:db8:60::/64", dhcp.Requesting},
	{2 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), "", dhcp.Bound},
}

func newMachine() *dhcp.Machine { return dhcp.NewMachine(host, iaid, 64, dhcp.Lease{}, half) }

func TestMachine(t *testing.T) {
	for _, l := range slices.Concat(searching, holding) {
		t.Run(l.name, func(t *testing.T) { play(t, newMachine(), slices.Concat(l.begin, l.run)) })
	}
}

// RFC 8415 18.2.12: after a restart a lease with prefixes is rebound before it is trusted.
func TestRFC8415_18_2_12_Restart(t *testing.T) {
	m := newMachine()
	play(t, m, bound)
	again := dhcp.NewMachine(host, iaid, 64, m.Lease(), half)
	play(t, again, []event{
		{5 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Verifying},
		{6 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 0, 0), offer(second, 100, 200)), "", dhcp.Bound},
	})
	if h := again.Lease().At(begin.Add(6 * sec)); h.Prefix != second || len(h.Draining) != 1 || h.Draining[0].Prefix != first {
		t.Errorf("after another network answered: %+v", h)
	}
	// Long after its end nothing of a lease is left, and an idle machine stays idle.
	late := dhcp.NewMachine(host, iaid, 64, m.Lease(), half)
	play(t, late, []event{{time.Hour, dhcp.Event{}, "", dhcp.Soliciting}, {time.Hour + sec, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting}})
}

// What a lease is good for while its server is gone: T1 50 s, T2 80 s, preferred 100 s, valid 200 s from second 2.
func TestHolding(t *testing.T) {
	write := func(h dhcp.Holding) string {
		var b strings.Builder
		fmt.Fprint(&b, h.Prefix)
		for _, d := range h.Draining {
			fmt.Fprint(&b, " draining ", d.Prefix)
		}
		return b.String()
	}
	const none = "invalid Prefix"
	t.Run("the preferred lifetime ends", func(t *testing.T) {
		m := newMachine()
		play(t, m, bound)
		var have []string
		for _, at := range []time.Duration{2, 101, 102, 201, 202} {
			have = append(have, write(m.Lease().At(begin.Add(at*time.Second))))
		}
		want := []string{first.String(), first.String(), none + " draining " + first.String(), none + " draining " + first.String(), none}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("(-want +have):\n%s", d)
		}
	})
	t.Run("half of the time in which nobody answers a Rebind", func(t *testing.T) {
		m := newMachine()
		play(t, m, append(append([]event{}, bound[:4]...),
			event{2 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 200, 200)), "", dhcp.Bound}))
		var have []string
		for _, at := range []time.Duration{141, 142, 201, 202} {
			have = append(have, write(m.Lease().At(begin.Add(at*time.Second))))
		}
		want := []string{first.String(), none + " draining " + first.String(), none + " draining " + first.String(), none}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("(-want +have):\n%s", d)
		}
	})
	t.Run("a second prefix changes nothing for the first", func(t *testing.T) {
		m := newMachine()
		play(t, m, append(append([]event{}, bound[:4]...),
			event{2 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200), offer(second, 150, 200)), "", dhcp.Bound}))
		if have := write(m.Lease().At(begin.Add(3 * sec))); have != first.String()+" draining "+second.String() {
			t.Errorf("%s", have)
		}
		if have := write(m.Lease().At(begin.Add(103 * sec))); have != second.String()+" draining "+first.String() {
			t.Errorf("%s", have)
		}
	})
}

// Next never lies in the past without Step having something to do, so that whoever waits for it does not spin.
func TestNextIsReached(t *testing.T) {
	m := newMachine()
	if !m.Next().IsZero() {
		t.Errorf("an idle machine wants to be called at %s", m.Next())
	}
	play(t, m, bound)
	now := begin.Add(2 * sec)
	sent := 0
	for range 200 {
		next := m.Next()
		if next.IsZero() {
			t.Fatalf("%s waits for nothing", m.State())
		}
		if next.After(now) {
			now = next
		} else if m.Step(now, dhcp.Event{}) == nil && !m.Next().After(now) {
			t.Fatalf("%s at %s wants to be called again at once", m.State(), now.Sub(begin))
		} else {
			continue
		}
		if m.Step(now, dhcp.Event{}) != nil {
			sent++
		}
	}
	if now.Sub(begin) < time.Hour || sent < 10 {
		t.Errorf("after 200 calls it is %s and %d messages were sent", now.Sub(begin), sent)
	}
}
