package dhcp_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hexapod.dev/edge/dhcp"
)

// RFC 8415 8, 21: the bytes of a Request, written out.
func TestRFC8415_8_BytesOfARequest(t *testing.T) {
	m := dhcp.Message{Kind: dhcp.Request, Transaction: [3]byte{1, 2, 3}, Client: host, Server: server, Elapsed: 1234 * time.Millisecond,
		IA: &dhcp.IA{ID: iaid, Prefixes: []dhcp.Offer{offer(first, 100, 200)}}}
	b, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const want = "03010203" +
		"0001000a00030001020000000001" + // client: DUID-LL
		"0002000a00030001020000000002" + // server
		"00080002007b" + // elapsed: 1.23 s
		"000600020052" + // asks for SOL_MAX_RT
		"00190029000000070000000000000000" + // IA_PD 7, times for the server to choose
		"001a001900000064000000c84020010db8006000000000000000000000"
	if have := hex.EncodeToString(b); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

func TestParseGivesBackWhatWasWritten(t *testing.T) {
	for _, m := range []dhcp.Message{
		{Kind: dhcp.Solicit, Client: host, IA: &dhcp.IA{ID: iaid}},
		{Kind: dhcp.Advertise, Transaction: [3]byte{9, 8, 7}, Client: host, Server: server, Preference: 255, SolMaxRT: time.Minute,
			IA: &dhcp.IA{ID: iaid, T1: time.Second, T2: time.Minute, Prefixes: []dhcp.Offer{offer(first, 100, 200), offer(second, 0, 0)}}},
		{Kind: dhcp.Reply, Client: host, Server: server, Status: dhcp.UnspecFail, IA: &dhcp.IA{ID: iaid, Status: dhcp.NoPrefixAvail}},
		{Kind: dhcp.Reply, Client: host, Server: server},
		{Kind: dhcp.Renew, Client: host, Server: server, Elapsed: 655350 * time.Millisecond},
	} {
		b, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		have, err := dhcp.Parse(b, iaid)
		if err != nil {
			t.Errorf("%s: %v", m.Kind, err)
		}
		if d := cmp.Diff(m, have, cmp.Comparer(func(a, b dhcp.Offer) bool { return a == b })); d != "" {
			t.Errorf("%s (-written +read):\n%s", m.Kind, d)
		}
	}
	other := dhcp.Message{Kind: dhcp.Reply, Client: host, Server: server, IA: &dhcp.IA{ID: iaid + 1, Prefixes: []dhcp.Offer{offer(first, 1, 2)}}}
	b, err := other.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if have, err := dhcp.Parse(b, iaid); err != nil || have.IA != nil {
		t.Errorf("the IA_PD of another client: %+v, %v", have.IA, err)
	}
}

// A machine takes whatever bytes come and goes on.
func FuzzParse(f *testing.F) {
	for _, m := range []*dhcp.Message{
		answer(dhcp.Advertise, server, 50, 80, offer(first, 100, 200)).Message,
		answer(dhcp.Reply, server, 50, 80, offer(first, 0, 0), offer(second, 1, 2)).Message,
		{Kind: dhcp.Reply, Client: host, Server: server, Status: dhcp.NoBinding},
	} {
		b, err := m.Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcp.Parse(b, iaid)
		if err != nil {
			return
		}
		machine := newMachine()
		play(t, machine, bound[:4])
		out := machine.Step(begin.Add(2*sec), dhcp.Event{Message: &m})
		for _, d := range machine.Lease().Prefixes {
			if !d.Prefix.IsValid() || d.Prefix != d.Prefix.Masked() || d.Valid.Before(d.Preferred) {
				t.Fatalf("it holds %+v", d)
			}
		}
		if out != nil {
			if _, err := out.Bytes(); err != nil {
				t.Fatalf("it wants to send what cannot be sent: %v", err)
			}
		}
	})
}
