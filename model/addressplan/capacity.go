package addressplan

import (
	"fmt"
	"math/bits"

	"hexapod.dev/model/prefix"
)

// Usage counts the host numbers of one rack.
type Usage struct {
	Total   uint64 `json:"total"` // numbers that a host can have
	Living  uint64 `json:"living"`
	Resting uint64 `json:"resting"` // host gone, rest not over
	Rested  uint64 `json:"rested"`  // used before and free again
	Unused  uint64 `json:"unused"`  // never used
}

// Free is how many hosts can be added now.
func (u Usage) Free() uint64 { return u.Rested + u.Unused }

// Usage counts the host numbers of a rack at second now.
func (p Plan) Usage(c Cluster, r Rack, now Seconds) (Usage, error) {
	rack, err := p.RackPrefix(c, r.Number)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Total: prefix.Count(rack, p.Lengths.Host) - reservedHosts(rack, p.Lengths.Host)}
	used := p.numbers(c, r)
	for _, s := range used {
		switch {
		case s.living:
			u.Living++
		case s.retiredAt+p.Rest > now:
			u.Resting++
		default:
			u.Rested++
		}
	}
	u.Unused = u.Total - min(u.Total, uint64(len(used)))
	return u, nil
}

// LevelCount is how many prefixes of a level one of the level above holds.
type LevelCount struct {
	Level Level  `json:"level"`
	Bits  int    `json:"bits"`           // prefix length
	Edge  bool   `json:"edge,omitempty"` // counts edge clusters instead of clusters
	Each  uint64 `json:"each"`           // hosts or racks that can be used: rack 0 and reserved identifiers are taken off
	Total uint64 `json:"total"`          // in the whole fabric, saturating at 2^64-1
}

// Capacity returns the counts of every level; nothing for lengths that no prefix has.
func (p Plan) Capacity() []LevelCount {
	l := p.Lengths
	clusters := prefix.Count(p.Prefix, l.Cluster)
	cluster, err1 := p.Prefix.Addr().Prefix(l.Cluster)
	rack, err2 := p.Prefix.Addr().Prefix(l.Rack)
	if err1 != nil || err2 != nil {
		return nil
	}
	racks := max(prefix.Count(cluster, l.Rack), 1) - 1
	hosts := prefix.Count(rack, l.Host) - reservedHosts(rack, l.Host)
	return []LevelCount{
		{Level: LevelCluster, Bits: l.Cluster, Each: clusters, Total: clusters},
		{Level: LevelCluster, Bits: l.EdgeCluster, Edge: true, Each: prefix.Count(p.Prefix, l.EdgeCluster), Total: prefix.Count(p.Prefix, l.EdgeCluster)},
		{Level: LevelRack, Bits: l.Rack, Each: racks, Total: saturatingMul(clusters, racks)},
		{Level: LevelHost, Bits: l.Host, Each: hosts, Total: saturatingMul(saturatingMul(clusters, racks), hosts)},
	}
}

// Churn is autoscaling in one rack: so many new hosts a day, each living so long.
type Churn struct {
	PerDay uint64
	Life   Seconds
}

// Forecast tells how a rack fares under a churn.
type Forecast struct {
	Held   uint64  // numbers living or resting in the long run: PerDay * (Life + rest), rounded up
	Never  bool    // it never fills
	FullAt Seconds // else the second at which the first host finds no number, if the churn starts now
}

// ForecastRack tells when a rack is full: N new hosts a day that live L days hold N*(L+rest) numbers, so a rack of that many
// lasts for ever and a smaller one fills once its free numbers are used. Hosts that live now are taken to stay.
func (p Plan) ForecastRack(u Usage, churn Churn, now Seconds) (Forecast, error) {
	if churn.Life < 0 || p.Rest < 0 {
		return Forecast{}, fmt.Errorf("forecast: a life of %s and a rest of %s cannot be negative", churn.Life, p.Rest)
	}
	hi, lo := bits.Mul64(churn.PerDay, uint64(churn.Life)+uint64(p.Rest))
	if hi >= uint64(Day) {
		return Forecast{}, fmt.Errorf("forecast: %d hosts a day that live %s are more than can be counted", churn.PerDay, churn.Life)
	}
	held, rem := bits.Div64(hi, lo, uint64(Day))
	if rem > 0 {
		held++
	}
	f := Forecast{Held: held, Never: held <= u.Total-min(u.Total, u.Living)}
	if churn.PerDay == 0 {
		return Forecast{Never: true}, nil
	}
	if !f.Never {
		// What rests now comes back before the first of the new hosts does, if its rest is shorter than their life and rest.
		free := u.Unused + u.Rested + u.Resting
		f.FullAt = now + Seconds(min(saturatingMul(free, uint64(Day))/churn.PerDay, 1<<62))
	}
	return f, nil
}

func saturatingMul(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi > 0 {
		return ^uint64(0)
	}
	return lo
}
