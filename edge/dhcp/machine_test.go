package dhcp_test

import (
	"fmt"
	"net/netip"
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
	for _, tc := range []struct {
		name  string
		begin []event
		run   []event
	}{
		{"RFC 9762: idle until a router says that prefixes are delegated", nil, []event{
			{0, dhcp.Event{}, "", dhcp.Idle}, {time.Hour, dhcp.Event{Link: true}, "", dhcp.Idle}, {time.Hour, start, "", dhcp.Soliciting},
		}},
		{"RFC 8415 18.2.1, 15: Solicit backs off", nil, []event{
			{0, start, "", dhcp.Soliciting},
			{499 * time.Millisecond, dhcp.Event{}, "", dhcp.Soliciting},
			{500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
			{1499 * time.Millisecond, dhcp.Event{}, "", dhcp.Soliciting},
			{1500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
			{3499 * time.Millisecond, dhcp.Event{}, "", dhcp.Soliciting},
			{3500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
			{7500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
		{"RFC 8415 18.2.1: preference 255 is taken at once", bound[:2], []event{
			{sec, with(answer(dhcp.Advertise, server, 0, 0, offer(first, 100, 200)), func(m *dhcp.Message) { m.Preference = 255 }),
				"Request to server 2001:db8:60::/64", dhcp.Requesting},
		}},
		{"RFC 8415 18.2.9: the highest preference of the first second wins", bound[:2], []event{
			{600 * time.Millisecond, answer(dhcp.Advertise, server, 0, 0, offer(first, 100, 200)), "", dhcp.Soliciting},
			{700 * time.Millisecond, with(answer(dhcp.Advertise, other, 0, 0, offer(second, 100, 200)), func(m *dhcp.Message) { m.Preference = 9 }), "", dhcp.Soliciting},
			{1500 * time.Millisecond, dhcp.Event{}, "Request to other 2001:db8:61::/64", dhcp.Requesting},
		}},
		{"RFC 8415 18.2.1: after the first timeout the first who answers is taken", bound[:2], []event{
			{1500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
			{1600 * time.Millisecond, answer(dhcp.Advertise, server, 0, 0, offer(first, 100, 200)), "Request to server 2001:db8:60::/64", dhcp.Requesting},
		}},
		{"RFC 8415 18.2.9: an offer without prefix is none", bound[:2], []event{
			{sec, with(answer(dhcp.Advertise, server, 0, 0), func(m *dhcp.Message) { m.IA.Status = dhcp.NoPrefixAvail }), "", dhcp.Soliciting},
			{1500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
		{"RFC 8415 21.22: preferred longer than valid is ignored", bound[:2], []event{
			{sec, answer(dhcp.Advertise, server, 0, 0, offer(first, 201, 200)), "", dhcp.Soliciting},
			{1500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
		{"RFC 8415 21.21: T1 after T2 is no IA_PD", bound[:4], []event{
			{2 * sec, answer(dhcp.Reply, server, 81, 80, offer(first, 100, 200)), "", dhcp.Requesting},
		}},
		{"RFC 8415 16.10: answers to somebody else, or to something else, are passed over", bound[:4], []event{
			{2 * sec, with(answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), func(m *dhcp.Message) { m.Transaction = [3]byte{1} }), "", dhcp.Requesting},
			{2 * sec, with(answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), func(m *dhcp.Message) { m.Client = other }), "", dhcp.Requesting},
			{2 * sec, with(answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), func(m *dhcp.Message) { m.Server = nil }), "", dhcp.Requesting},
			{2 * sec, with(answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), func(m *dhcp.Message) { m.IA.ID = 8 }), "", dhcp.Requesting},
			{2 * sec, answer(dhcp.Advertise, server, 50, 80, offer(first, 100, 200)), "", dhcp.Requesting},
			{2 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), "", dhcp.Bound},
		}},
		{"RFC 8415 18.2.2: ten Requests, then another server", bound[:4], requests()},
		{"RFC 8415 18.2.10.1: a Request that is refused goes elsewhere", bound[:4], []event{
			{2 * sec, with(answer(dhcp.Reply, server, 0, 0), func(m *dhcp.Message) { m.IA.Status = dhcp.NoPrefixAvail }), "", dhcp.Soliciting},
			{2500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
		{"RFC 8415 18.2.4: Renew at T1, and a new life after the answer", bound, []event{
			{51999 * time.Millisecond, dhcp.Event{}, "", dhcp.Bound},
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{53 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), "", dhcp.Bound},
			{103 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
		}},
		{"RFC 8415 18.2.4, 18.2.5: server gone, Rebind at T2, any server answers", bound, []event{
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{62 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{82 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Rebinding},
			{92 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Rebinding},
			{93 * sec, answer(dhcp.Reply, other, 50, 80, offer(first, 100, 200)), "", dhcp.Bound},
			{143 * sec, dhcp.Event{}, "Renew to other 2001:db8:60::/64", dhcp.Renewing},
		}},
		{"RFC 8415 18.2.5: nobody answers until the end, then a new search", bound, []event{
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{82 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Rebinding},
			{201 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Rebinding},
			{202 * sec, dhcp.Event{}, "", dhcp.Soliciting},
			{203 * sec, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
		{"RFC 8415 18.2.10.1: NoBinding at Renew is answered by a Request for what is held", bound, []event{
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{53 * sec, with(answer(dhcp.Reply, server, 0, 0), func(m *dhcp.Message) { m.IA.Status = dhcp.NoBinding }), "Request to server 2001:db8:60::/64", dhcp.Requesting},
			{54 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 100, 200)), "", dhcp.Bound},
		}},
		{"RFC 8415 18.2.10: a failure without a reason changes nothing", bound, []event{
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{53 * sec, with(answer(dhcp.Reply, server, 50, 80, offer(first, 0, 0)), func(m *dhcp.Message) { m.Status = dhcp.UnspecFail }), "", dhcp.Renewing},
			{62 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
		}},
		{"RFC 8415 18.2.10.1: a lifetime of 0 takes the prefix back, another comes with it", bound, []event{
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{53 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 0, 0), offer(second, 100, 200)), "", dhcp.Bound},
			{103 * sec, dhcp.Event{}, "Renew to server 2001:db8:61::/64", dhcp.Renewing},
		}},
		{"RFC 8415 18.2.10.1: taken back without another: a new search", bound, []event{
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{53 * sec, answer(dhcp.Reply, server, 50, 80, offer(first, 0, 0)), "", dhcp.Soliciting},
			{54 * sec, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
		{"RFC 8415 21.21: times that are left to the client are 0.5 and 0.8 of the preferred lifetime", bound[:4], []event{
			{2 * sec, answer(dhcp.Reply, server, 0, 0, offer(first, 100, 200)), "", dhcp.Bound},
			{51999 * time.Millisecond, dhcp.Event{}, "", dhcp.Bound},
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
			{82 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Rebinding},
		}},
		{"RFC 8415 18.2.12: a new cable: Rebind with the times of Confirm, and without an answer the lease holds", bound, []event{
			{10 * sec, dhcp.Event{Link: true}, "Rebind 2001:db8:60::/64", dhcp.Verifying},
			{11 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Verifying},
			{13 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Verifying},
			{17 * sec, dhcp.Event{}, "Rebind 2001:db8:60::/64", dhcp.Verifying},
			{20 * sec, dhcp.Event{}, "", dhcp.Bound},
			{52 * sec, dhcp.Event{}, "Renew to server 2001:db8:60::/64", dhcp.Renewing},
		}},
		{"RFC 9762: asked again while it waits long, but not more often than every ten seconds", nil, []event{
			{0, start, "", dhcp.Soliciting},
			{500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
			{9 * sec, start, "Solicit ::/64", dhcp.Soliciting}, // it was due
			{10 * sec, start, "", dhcp.Soliciting},
			{10500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
			{11 * sec, start, "", dhcp.Soliciting},
			{11499 * time.Millisecond, dhcp.Event{}, "", dhcp.Soliciting},
			{11500 * time.Millisecond, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			play(t, newMachine(), append(append([]event{}, tc.begin...), tc.run...))
		})
	}
}

// requests is REQ_MAX_RC retransmissions and what follows (RFC 8415 7.6: 1, 2, 4, 8, 16, then every 30 seconds).
func requests() []event {
	var run []event
	at := 1500 * time.Millisecond
	for i, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30, 30, 30} {
		at += wait * time.Second
		if i == 9 {
			return append(run, event{at, dhcp.Event{}, "", dhcp.Soliciting}, event{at + sec, dhcp.Event{}, "Solicit ::/64", dhcp.Soliciting})
		}
		run = append(run, event{at, dhcp.Event{}, "Request to server 2001:db8:60::/64", dhcp.Requesting})
	}
	return run
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
