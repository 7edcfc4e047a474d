package datapath

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/netns"
	"hexapod.dev/linux/netns/netnstest"
	"hexapod.dev/model/datapath"
)

// The test binary is also the process that holds the datapath: only a process can be killed.
const holderEnv = "HEXAPOD_TEST_DATAPATH_HOLDER"

func TestMain(m *testing.M) {
	if text := os.Getenv(holderEnv); text != "" {
		if err := hold(text); err != nil {
			fmt.Fprintln(os.Stderr, "holder:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holding is what a holder is told.
type holding struct {
	NS, Run string
	Pods    int
	Uplinks []string
	Next    bool // it is of the next release: another layout, other stubs, another program
}

// hold opens the datapath as an agent does, says so, and makes everything as wanted for each line it reads.
func hold(text string) error {
	var h holding
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return err
	}
	ns, err := netns.Open(h.NS)
	if err != nil {
		return err
	}
	o := Options{NS: ns, Root: filepath.Join(h.Run, "none"), Run: h.Run}
	if h.Next {
		o.release = release{layout: pin.Layout + 1, change: another}
	}
	b := &bench{uplinks: h.Uplinks}
	for i := range h.Pods {
		b.pods = append(b.pods, podOf(i))
	}
	if b.table, err = Open(o); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); ; {
		if _, err := b.table.Reconcile(context.Background(), b.want()); err != nil {
			return err
		}
		fmt.Println("done")
		if !lines.Scan() {
			return b.table.Close()
		}
	}
}

// another makes every program one that the kernel tells from that of this release.
func another(spec *ebpf.CollectionSpec) {
	for _, p := range spec.Programs {
		first := p.Instructions[0]
		nothing := asm.Mov.Imm(asm.R0, 0)
		nothing.Metadata = first.Metadata
		first.Metadata = asm.Metadata{}
		p.Instructions = append(asm.Instructions{nothing, first}, p.Instructions[1:]...)
	}
}

// holder is such a process.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (b *bench) holder(t *testing.T, next bool) *holder {
	t.Helper()
	text, err := json.Marshal(holding{NS: b.ns.Path(), Run: b.run, Pods: len(b.pods), Uplinks: b.uplinks, Next: next})
	must(t, err)
	h := &holder{cmd: exec.Command("/proc/self/exe")}
	h.cmd.Env, h.cmd.Stderr = append(os.Environ(), holderEnv+"="+string(text)), os.Stderr
	h.in, err = h.cmd.StdinPipe()
	must(t, err)
	out, err := h.cmd.StdoutPipe()
	must(t, err)
	h.out = bufio.NewReader(out)
	must(t, h.cmd.Start())
	return h
}

// await waits until everything is as wanted.
func (h *holder) await(t *testing.T) *holder {
	t.Helper()
	if _, err := h.out.ReadString('\n'); err != nil {
		t.Fatalf("the holder of the datapath ended: %v, %v", err, h.cmd.Wait())
	}
	return h
}

// repair lets it look and repair, as news of the kernel let an agent.
func (h *holder) repair(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(h.in, "again\n")
	must(t, err)
	h.await(t)
}

func (h *holder) kill(t *testing.T) {
	t.Helper()
	must(t, h.cmd.Process.Kill())
	_ = h.cmd.Wait() // it was killed
}

func (h *holder) stop(t *testing.T) {
	t.Helper()
	must(t, h.in.Close())
	must(t, h.cmd.Wait())
}

// TestRestartsUnderLoad kills, stops, upgrades and rolls back the process that holds the datapath, while endpoints talk and somebody tries
// every millisecond what is forbidden: no packet of a known flow is lost, and nothing forbidden comes through.
func TestRestartsUnderLoad(t *testing.T) {
	rounds := 1
	if os.Getenv("HEXAPOD_SOAK") != "" {
		rounds = 20
	}
	b := newBench(t)
	p := startProbes(t, b)
	must(t, b.table.Close())
	h := b.holder(t, false).await(t)
	l := startLoad(t, b)
	dice := rand.New(rand.NewPCG(1, 17))
	began := time.Now()
	h.stop(t)
	h = b.holder(t, false).await(t)
	took := time.Since(began)
	next := false
	for range rounds {
		for _, what := range []string{"kill", "kill while it starts", "upgrade", "kill while it starts", "rollback"} {
			switch what {
			case "kill":
				h.kill(t)
			case "kill while it starts":
				h.stop(t)
				h = b.holder(t, next)
				<-time.After(time.Duration(dice.Int64N(int64(took))))
				h.kill(t)
			case "upgrade", "rollback":
				h.stop(t)
				next = what == "upgrade"
			}
			h = b.holder(t, next).await(t)
			p.check(t, what)
		}
		l.check(t)
		if t.Failed() {
			break
		}
	}
	l.stop()
	p.stop(t)
	h.kill(t)
	t.Log(l, p)
}

// TestNothingForbiddenPasses takes pieces of the datapath away by hand, while somebody tries every millisecond what is forbidden.
func TestNothingForbiddenPasses(t *testing.T) {
	rounds := 1
	if os.Getenv("HEXAPOD_SOAK") != "" {
		rounds = 20
	}
	b := newBench(t)
	p := startProbes(t, b)
	h := b.holder(t, false).await(t)
	slot := func() *ebpf.Map {
		m, err := ebpf.LoadPinnedMap(filepath.Join(b.run, "bpf", "hexapod", fmt.Sprintf("layout-%d", pin.Layout), "slot"), nil)
		must(t, err)
		return m
	}()
	defer slot.Close()
	for i := range rounds {
		for _, what := range []struct {
			name string
			do   func()
		}{
			{"qdisc of the sender deleted", func() { netnstest.Run(t, b.ns, "tc qdisc del dev "+b.pods[0].link+" clsact") }},
			{"qdisc of the receiver deleted", func() { netnstest.Run(t, b.ns, "tc qdisc del dev "+b.pods[1].link+" clsact") }},
			{"filters deleted", func() {
				netnstest.Run(t, b.ns, "tc filter del dev "+b.pods[0].link+" ingress")
				netnstest.Run(t, b.ns, "tc filter del dev "+b.pods[1].link+" egress")
			}},
			{"guard flushed", func() { netnstest.Run(t, b.ns, "nft flush ruleset") }},
			{"slot cleared", func() { must(t, slot.Delete(uint32(0))); h.kill(t); h = b.holder(t, false).await(t) }},
			{"a new uplink", func() { p.newUplink(t, b, fmt.Sprintf("nu%d", i)); h.kill(t); h = b.holder(t, false).await(t) }},
			{"a new endpoint", func() { p.newEndpoint(t, b); h.kill(t); h = b.holder(t, false).await(t) }},
		} {
			what.do()
			p.check(t, what.name)
			h.repair(t)
			p.check(t, what.name+", repaired")
			b.ping(t, 0, b.pods[1].addr.String())
		}
		if t.Failed() {
			break
		}
	}
	p.stop(t)
	h.kill(t)
	t.Log(p)
}

// Who is denied, in both directions, by the hook that policies use.
var (
	denied      = netip.MustParseAddr("3fff:7::bad")
	deniedPairs = []datapath.Pair{{From: podOf(0).addr, To: denied}, {From: denied, To: podOf(1).addr}}
)
