package translator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/linux/child"
	"hexapod.dev/linux/nat64"
	"hexapod.dev/model/desired"
	"hexapod.dev/model/gateway"
	xnat64 "hexapod.dev/model/xlat/nat64"
)

// Report is the line of the status about the translator. o is what became of the last pass of Translate.
func (t *Translator) Report(o local.Object, undone []desired.Undone) []local.Object {
	want := t.options.Snapshot().Config.Translation
	if want == nil {
		return nil
	}
	o.Kind, o.Name = "nat64", want.Name
	child := t.keeper.State()
	switch {
	case o.State == local.Failed:
	case child.Err != nil:
		o.State, o.Why = local.Failed, local.OneLine(child.Err)
	case child.PID == 0:
		o.State, o.Why = local.Pending, "the translator does not run yet"
	case t.lifeNow().silent:
		o.State, o.Why = local.Failed, fmt.Sprintf("process %d gives no sign of life", child.PID)
		if t.lifeNow().away {
			o.Why += ": the other gateways are led to"
		}
		o.Why += fmt.Sprintf("; it is started anew after %v", hungLooks*lookEvery)
	default:
		by := fmt.Sprint(want.Pool)
		if want.OwnAddress() {
			t.mu.Lock()
			by = t.own.sharedText(want.Ports)
			t.mu.Unlock()
		}
		o.Detail = fmt.Sprintf("%v by %s, %s, process %d", want.Prefixes, by, t.fastDetail(), child.PID)
		if g := want.Group; g != nil {
			o.Detail += fmt.Sprintf(", %d gateways, what they tell each other is %s", len(g.Members), gateway.Signature(g.Keys))
		}
	}
	if err := t.grantsWell(); err != nil && o.State == local.Done {
		o.State, o.Why = local.Failed, local.OneLine(err)
	}
	for _, u := range undone {
		if u.Kind == "nat64" {
			o.State, o.Why = local.Failed, string(u.Why)
		}
	}
	return []local.Object{o}
}

// Status tells what the translator holds; of endpoints and blocks it names at most top.
func (t *Translator) Status(ctx context.Context, top int) (s nat64.Status, err error) {
	return s, plain(t.keeper.Call(ctx, nat64.CallStatus, top, &s))
}

// Bindings lists at most n bindings.
func (t *Translator) Bindings(ctx context.Context, n int) (list []xnat64.Entry, err error) {
	return list, plain(t.keeper.Call(ctx, nat64.CallEntries, n, &list))
}

func plain(err error) error {
	if errors.Is(err, child.ErrNone) {
		return errors.New("this host does not translate: no Translation names it, or it uses the NAT64 of others (hexapod nat64 show), or hexapod status tells why")
	}
	return err
}

// Who tells who had a port of the pool at a time; false: nobody. It reads the log, so it needs no translator that runs.
func (t *Translator) Who(addr netip.AddrPort, at time.Time) (h nat64.Had, found bool, err error) {
	return t.grantsFolder().Who(addr.Addr(), addr.Port(), at)
}
