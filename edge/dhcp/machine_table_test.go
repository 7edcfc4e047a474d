package dhcp_test

import (
	"time"

	"hexapod.dev/edge/dhcp"
)

// life is one table of events.
type life struct {
	name  string
	begin []event // what comes before, as other tables have it
	run   []event
}

// searching is how a machine comes to a prefix.
var searching = []life{
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
}

// holding is what it does with a prefix that it has.
var holding = []life{
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
