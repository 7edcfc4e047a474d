package lab

import (
	"fmt"
	"net/netip"

	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/ipam"
)

// Decoded is what an address says by itself: no agent, journal or network is asked.
type Decoded struct {
	Rack, Host string
	Fields     ipam.Fields
}

// Decode reads an address of an endpoint by the address plan alone.
func (l *Lab) Decode(a netip.Addr) (Decoded, error) {
	p := l.Plan()
	where := p.Locate(a)
	if where.Level != addressplan.LevelHost {
		return Decoded{}, fmt.Errorf("decode %s: no host of the lab has it", a)
	}
	h, err := p.Host(where.Host.Name)
	if err != nil {
		return Decoded{}, fmt.Errorf("decode %s: %w", a, err)
	}
	prefix, err := p.PrefixOf(h)
	if err != nil {
		return Decoded{}, fmt.Errorf("decode %s: %w", a, err)
	}
	layout, err := ipam.NewLayout(prefix, nil)
	if err != nil {
		return Decoded{}, fmt.Errorf("decode %s: %w", a, err)
	}
	fields, err := layout.Decode(a)
	return Decoded{where.Rack.Name, where.Host.Name, fields}, err
}
