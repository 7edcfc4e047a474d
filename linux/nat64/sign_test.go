package nat64

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"hexapod.dev/model/xlat"
	"hexapod.dev/model/xlat/nat64"
)

// A translator that has a million bindings and gets no rest, neither from packets nor from who asks it for lists, gives signs of life; how long the
// slowest took is told, beside what the agent's watch waits for. make soak takes the million.
func TestSignOfABusyTranslator(t *testing.T) {
	bindings, signs := 50_000, 20
	if os.Getenv("HEXAPOD_SOAK") != "" {
		bindings, signs = 1_000_000, 1000
	}
	c := config()
	c.Bindings, c.Blocks, c.Clients = bindings, 1, prefixes("2001:db8::/32")
	c.Pool = nil
	for i := range byte(16) {
		c.Pool = append(c.Pool, netip.AddrFrom4([4]byte{45, 0, 0, i}))
	}
	tr := New(Files{Grants: logOf{new(bytes.Buffer)}}, slog.New(slog.DiscardHandler))
	if _, err := tr.Sign(); err == nil {
		t.Error("one that was told nothing gives a sign")
	}
	if err := tr.Configure(c); err != nil {
		t.Fatal(err)
	}
	to := xlat.WellKnown.Embed(netip.MustParseAddr("45.66.0.80"))
	flow := func(i int) xlat.Query {
		from := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i / nat64.BlockSize >> 8), 15: byte(i / nat64.BlockSize)})
		return xlat.Query{Ends: xlat.Ends{Src: from, Dst: to, SrcPort: uint16(i), DstPort: 53}, Protocol: 17}
	}
	for i := range bindings {
		if _, why := tr.table.To4(flow(i)); why != xlat.Translated {
			t.Fatalf("flow %d: %s", i, why)
		}
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	loop := func(do func(i int)) {
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					do(i)
				}
			}
		})
	}
	wait.Go(func() { tr.tick(stop) })
	loop(func(i int) { // bursts of packets, without a pause, as drain takes them
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for k := range burst {
			tr.table.To4(flow((i*burst + k) % bindings))
		}
	})
	loop(func(int) { tr.Status(100); runtime.Gosched() })
	var slowest time.Duration
	every := time.NewTicker(10 * time.Millisecond) // spread over what is done once a second and once in ten
	defer every.Stop()
	for range signs {
		<-every.C
		asked := time.Now()
		if _, err := tr.Sign(); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(asked))
	}
	close(stop)
	wait.Wait()
	t.Logf("%d bindings, %d signs, the slowest after %v", bindings, signs, slowest.Round(time.Microsecond))
}
