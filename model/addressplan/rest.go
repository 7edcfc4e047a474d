package addressplan

import (
	"fmt"
	"net/netip"

	"hexapod.dev/model/ipam"
	"hexapod.dev/model/prefix"
)

// FullError says that a rack has no host number left, and when the next one returns.
type FullError struct {
	Cluster, Rack string
	Hosts         uint64  // how many numbers the rack has
	Returning     bool    // a number rests and comes back
	Number        uint64  // that number
	Wait          Seconds // until it is back
}

func (e *FullError) Error() string {
	s := fmt.Sprintf("rack %s of cluster %s: all %d host numbers are taken", e.Rack, e.Cluster, e.Hosts)
	if !e.Returning {
		return s + " and none rests: retire a host or add a rack"
	}
	return s + fmt.Sprintf("; number %d returns in %s: wait, or add a rack", e.Number, e.Wait)
}

// String writes a length of time in days, hours, minutes and seconds.
func (s Seconds) String() string {
	if s < 0 {
		return "-" + (-s).String()
	}
	out := ""
	for _, u := range []struct {
		size Seconds
		name string
	}{{Day, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if n := s / u.size; n > 0 {
			out += fmt.Sprintf("%d%s", n, u.name)
			s %= u.size
		}
	}
	if out == "" {
		return "0s"
	}
	return out
}

// numberState is what became of a host number.
type numberState struct {
	living    bool
	retiredAt Seconds // of its last life
}

// numbers returns every number of the rack that was ever used, with its state.
func (p Plan) numbers(c Cluster, r Rack) map[uint64]numberState {
	used := map[uint64]numberState{}
	for _, h := range p.Hosts {
		if h.Adopted || h.Delegated {
			continue
		}
		hc, hr, err := p.Place(h)
		if err != nil || hc.Name != c.Name || hr.Number != r.Number {
			continue
		}
		s, seen := used[h.Number]
		switch {
		case !h.Retired:
			s.living = true
		case !seen || h.RetiredAt > s.retiredAt:
			s.retiredAt = h.RetiredAt
		}
		used[h.Number] = s
	}
	return used
}

// NextHost returns the number for a new host in the rack, at second now: the lowest that was never used; when there is none,
// of those whose rest is over the one that has rested longest; else a [*FullError].
func (p Plan) NextHost(c Cluster, r Rack, now Seconds) (uint64, error) {
	rack, err := p.RackPrefix(c, r.Number)
	if err != nil {
		return 0, err
	}
	used := p.numbers(c, r)
	count := prefix.Count(rack, p.Lengths.Host)
	for n := uint64(0); n < count && uint64(len(used)) < count; n++ {
		if _, taken := used[n]; taken {
			continue
		}
		if _, err := p.HostPrefix(c, r.Number, n); err == nil {
			return n, nil
		}
	}
	full := &FullError{Cluster: c.Name, Rack: r.Name, Hosts: count - reservedHosts(rack, p.Lengths.Host)}
	var oldest Seconds
	for n, s := range used {
		older := s.retiredAt < oldest || s.retiredAt == oldest && n < full.Number
		if !s.living && (!full.Returning || older) {
			full.Returning, full.Number, oldest = true, n, s.retiredAt
		}
	}
	if full.Returning {
		full.Wait = oldest + p.Rest - now
	}
	if full.Returning && full.Wait <= 0 {
		return full.Number, nil
	}
	return 0, full
}

// Resting judges by the clock what Check cannot: hosts that live under a number whose rest is not over at second now, errors, and
// hosts that were retired later than now, warnings, because this clock or that record is wrong.
func (p Plan) Resting(now Seconds) []Problem {
	last := map[netip.Prefix]Host{} // retired ones, the last of each prefix
	var ps []Problem
	for _, h := range p.Hosts {
		q, err := p.PrefixOf(h)
		if !h.Retired || h.Adopted || err != nil {
			continue
		}
		if h.RetiredAt > now {
			ps = append(ps, Problem{Object: "host " + h.Name, Field: "retired", Warning: true,
				Text: fmt.Sprintf("%s lies ahead of this host's clock, %s: correct the one that is wrong", ipam.Seconds(h.RetiredAt), ipam.Seconds(now))})
			continue
		}
		if was, ok := last[q]; !ok || h.RetiredAt > was.RetiredAt {
			last[q] = h
		}
	}
	for _, h := range p.Hosts {
		q, err := p.PrefixOf(h)
		if h.Retired || h.Adopted || err != nil {
			continue
		}
		if was, ok := last[q]; ok && was.RetiredAt+p.Rest > now {
			ps = append(ps, Problem{Object: "host " + h.Name, Field: "number",
				Text: fmt.Sprintf("number %d was that of %s until %s and rests until %s, %s in all: take another number; hexapod plan host add does",
					h.Number, was.Name, ipam.Seconds(was.RetiredAt), ipam.Seconds(was.RetiredAt+p.Rest), p.Rest)})
		}
	}
	return ps
}
