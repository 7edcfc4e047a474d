package services

import (
	"fmt"
	"net/netip"
	"slices"

	"hexapod.dev/agent/local"
	"hexapod.dev/model/service"
)

// List tells of every address and port of every service, and of every service that has none, by name.
func (k *Keeper) List() []local.Service {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []local.Service{}
	for _, n := range k.board.Names() {
		line, _ := k.board.Line(n)
		if line.Why != "" {
			list = append(list, local.Service{Name: n.String(), State: local.Done, Why: string(line.Why)})
		}
		for _, f := range line.Frontends {
			o := local.Service{Name: n.String(), Address: f.Key.Addr, Port: f.Key.Port, Protocol: f.Key.Protocol, PortName: f.PortName,
				Backends: f.Backends, Affinity: f.AffinitySeconds, State: local.Done, Why: string(f.Why)}
			if k.off {
				o.Why = string(leftToAnother)
			} else if f.Why == service.Taken {
				o.State = local.Failed
			} else if held, ok := k.held(f.Key); !ok || !slices.Equal(held, f.Backends) {
				o.State, o.Why = local.Failed, "the kernel does not hold it: hexapod status tells why"
			} else {
				o.TableSize = k.hooks.Places(f.Key)
			}
			list = append(list, o)
		}
	}
	return list
}

// held asks what the kernel leads to. The caller holds mu.
func (k *Keeper) held(key service.Key) ([]netip.AddrPort, bool) {
	if k.hooks == nil {
		return nil, false
	}
	return k.hooks.Held(key)
}

// leftToAnother is why nobody is led anywhere.
const leftToAnother service.Why = "the plan leaves services to another proxy"

// totals counts what is served. The caller holds mu.
func (k *Keeper) totals() (services, frontends, backends, empty int) {
	for _, n := range k.board.Names() {
		line, _ := k.board.Line(n)
		services++
		for _, f := range line.Frontends {
			if f.Why == service.Taken {
				continue
			}
			frontends++
			backends += len(f.Backends)
			if len(f.Backends) == 0 {
				empty++
			}
		}
	}
	return services, frontends, backends, empty
}

// Report tells of the hooks, and of each service whose address another one has or that has too many backends. o is what became of the
// last pass of Reconcile.
func (k *Keeper) Report(o local.Object) []local.Object {
	k.mu.Lock()
	defer k.mu.Unlock()
	o.Kind, o.Name = "services", "connect"
	if k.off {
		o.Detail = string(leftToAnother)
		return []local.Object{o}
	}
	if k.hooks == nil && o.State != local.Failed {
		return nil
	}
	services, frontends, backends, empty := k.totals()
	o.Detail = fmt.Sprintf("%d services, %d addresses and ports, %d backends, %d without any", services, frontends, backends, empty)
	list := []local.Object{o}
	for _, n := range k.board.Names() {
		line, _ := k.board.Line(n)
		for _, f := range line.Frontends {
			if f.Why == service.Taken || f.Why == service.TooMany {
				list = append(list, local.Object{Kind: "service", Name: n.String() + " " + f.Key.String(), State: local.Failed, Why: string(f.Why)})
			}
		}
	}
	return list
}
