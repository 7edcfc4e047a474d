package agent

import (
	"context"
	"net/netip"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/agent/translator"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/model/desired"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// Parts of the translator of this host: partNAT64 keeps it as wanted, partHostPorts looks whose ports of the host's own address are.
const (
	partNAT64     = "nat64"
	partHostPorts = "ports"
)

// openTranslator introduces the translator to the host. Nothing runs before the configuration asks for it.
func (a *Agent) openTranslator() {
	o := translatorOptions(a.options)
	o.Conn = a.kernel.conn
	o.Snapshot, o.Programs, o.Keep, o.Tell = a.sections.Snapshot, a.programsNow, a.keepJournal, a.toldOfTranslator
	o.Believed = func() bool { return a.book.State().Refused == "" }
	o.Leaving = func() bool { return a.speaking.Leaving() } // which is opened later
	o.Again = func() { a.kick(partNAT64) }
	o.Look = func() { a.kick(partHostPorts) }
	a.translator = translator.New(o)
	a.metrics.registry.MustRegister(translator.Collector{Translator: a.translator})
}

func translatorOptions(o Options) translator.Options {
	return translator.Options{Host: o.Host, StateDir: o.StateDir, RunDir: o.RunDir, BPF: o.BPF, NS: o.NS, Log: o.Log}
}

// programsNow is what eBPF programs may do on this host.
func (a *Agent) programsNow() translator.Programs {
	if a.datapath.table == nil {
		return translator.Programs{None: a.datapath.why}
	}
	why := a.datapath.slow.Load()
	return translator.Programs{Direct: why != nil && *why == "", Direct4: a.datapath.four.Load()}
}

// toldOfTranslator leads packets to the translator, or no more.
func (a *Agent) toldOfTranslator(on bool) {
	if a.sections.SetTranslating(on) {
		a.kick(partHost, partRoutes, partBGP)
	}
}

// reportTranslation tells of the translator.
func (a *Agent) reportTranslation(st desired.State) []local.Object {
	return append(a.translator.Report(stateOf(local.Object{}, a.runners[partNAT64]), st.Undone), a.upstream.Report()...)
}

// NAT64 implements local.Translating.
func (a *Agent) NAT64(ctx context.Context, top int) (nat64.Status, error) {
	return a.translator.Status(ctx, top)
}

// NAT64Bindings implements local.Translating.
func (a *Agent) NAT64Bindings(ctx context.Context, n int) ([]xnat64.Entry, error) {
	return a.translator.Bindings(ctx, n)
}

// NAT64Who implements local.Translating.
func (a *Agent) NAT64Who(_ context.Context, addr netip.AddrPort, at time.Time) (nat64.Had, bool, error) {
	return a.translator.Who(addr, at)
}
