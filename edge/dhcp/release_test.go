package dhcp_test

import (
	"path/filepath"
	"testing"
	"time"

	"hexapod.dev/edge/dhcp"
)

// RFC 8415 18.2.7: what is given back is forgotten first, and named to the server that gave it; what has ended is not named.
func TestRFC8415_18_2_7_Release(t *testing.T) {
	file := dhcp.File(filepath.Join(t.TempDir(), "lease.json"))
	now := time.Now()
	duid := dhcp.DUID([6]byte{2, 0, 0, 0, 0, 1})
	kept := dhcp.Kept{DUID: duid, Link: "eth0", Lease: dhcp.Lease{Server: server, Prefixes: []dhcp.Delegation{
		{Prefix: second, Preferred: now.Add(-time.Hour), Valid: now.Add(-time.Minute)},
		{Prefix: first, Preferred: now.Add(time.Hour), Valid: now.Add(2 * time.Hour)},
	}}}
	if err := file.Save(kept); err != nil {
		t.Fatal(err)
	}
	w := wire{make(chan []byte, 10), make(chan []byte, 10)}
	go func() {
		b := <-w.sent
		asked, err := dhcp.Parse(b, iaidOf(b))
		if err != nil || asked.Kind.String() != "Release" || string(asked.Server) != string(server) ||
			asked.IA == nil || len(asked.IA.Prefixes) != 1 || asked.IA.Prefixes[0].Prefix != first || asked.IA.Prefixes[0].Valid != 0 {
			t.Errorf("sent %+v, %v", asked, err)
		}
		if k, err := file.Load(); err != nil || len(k.Lease.Prefixes) > 0 || string(k.DUID) != string(duid) {
			t.Errorf("told the server while %+v was kept, %v", k, err)
		}
		other := asked.Transaction
		other[0]++
		for _, id := range [][3]byte{other, asked.Transaction} {
			answer, err := dhcp.Message{Kind: dhcp.Reply, Transaction: id, Client: asked.Client, Server: server}.Bytes()
			if err != nil {
				t.Error(err)
			}
			w.heard <- answer
		}
	}()
	o := dhcp.Options{Link: "eth0", Port: w, Clock: dhcp.SystemClock{}, Store: file}
	released, answered, err := dhcp.Release(t.Context(), o)
	if err != nil || !answered || len(released) != 1 || released[0] != first {
		t.Errorf("released %v, answered %t, %v", released, answered, err)
	}
	if released, answered, err := dhcp.Release(t.Context(), o); released != nil || answered || err != nil {
		t.Errorf("a second time: %v, %t, %v", released, answered, err)
	}
}
