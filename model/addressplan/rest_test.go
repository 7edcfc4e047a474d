package addressplan

import (
	"errors"
	"testing"
)

// smallPlan has racks of four hosts.
func smallPlan(hosts ...Host) (Plan, Cluster, Rack) {
	r := Rack{Name: "r1", Number: 1}
	c := Cluster{Name: "c0", Racks: []Rack{r}}
	for i := range hosts {
		hosts[i].Cluster, hosts[i].Rack = "c0", "1"
	}
	return Plan{Name: "small", Prefix: pfx("fd12:3456:789a::/56"), Lengths: Lengths{56, 56, 56, 62, 64}, Rest: 7 * Day, Clusters: []Cluster{c}, Hosts: hosts}, c, r
}

func living(n uint64) Host { return Host{Name: "living", Number: n} }
func gone(n uint64, at Seconds) Host {
	return Host{Name: "gone", Number: n, Retired: true, RetiredAt: at}
}

func TestNextHost(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []Host
		now   Seconds
		want  uint64
		full  *FullError
	}{
		{"the first", nil, 0, 0, nil},
		{"the lowest never used", []Host{living(0), living(2)}, 0, 1, nil},
		{"one that rested long ago waits while others were never used", []Host{gone(0, 0)}, 100 * Day, 1, nil},
		{"the oldest whose rest is over", []Host{gone(0, 5*Day), gone(1, 2*Day), living(2), gone(3, 3*Day)}, 12 * Day, 1, nil},
		{"the last second of the rest", []Host{living(0), gone(1, 2*Day), living(2), living(3)}, 9*Day - 1, 0, &FullError{"c0", "r1", 4, true, 1, 1}},
		{"the rest is over to the second", []Host{living(0), gone(1, 2*Day), living(2), living(3)}, 9 * Day, 1, nil},
		{"all live", []Host{living(0), living(1), living(2), living(3)}, 0, 0, &FullError{Cluster: "c0", Rack: "r1", Hosts: 4}},
		{"a second life counts, not the first", []Host{living(0), gone(1, 1*Day), gone(1, 20*Day), living(2), living(3)}, 21 * Day, 0, &FullError{"c0", "r1", 4, true, 1, 6 * Day}},
		{"a second life that lives", []Host{living(0), gone(1, 1*Day), living(1), living(2), living(3)}, 30 * Day, 0, &FullError{Cluster: "c0", Rack: "r1", Hosts: 4}},
	} {
		p, cluster, rack := smallPlan(c.hosts...)
		got, err := p.NextHost(cluster, rack, c.now)
		var full *FullError
		switch {
		case c.full == nil && (err != nil || got != c.want):
			t.Errorf("%s: %d, %v, want %d", c.name, got, err, c.want)
		case c.full != nil && (!errors.As(err, &full) || *full != *c.full):
			t.Errorf("%s: %d, %v, want %v", c.name, got, err, c.full)
		}
	}
}

// A rack that is replaced all the time lives on: N*(L+rest) equal to its size is for ever, one host more is not.
func TestChurnMeetsForecast(t *testing.T) {
	const life = 1 * Day
	for perDay, never := range map[int]bool{1: true, 2: false} {
		p, c, r := smallPlan()
		p.Rest = 3 * Day // 1 a day holds 4 numbers: exactly the rack
		u, err := p.Usage(c, r, 0)
		if err != nil {
			t.Fatal(err)
		}
		f, err := p.ForecastRack(u, Churn{uint64(perDay), life}, 0)
		if err != nil || f.Never != never {
			t.Errorf("%d a day: %+v, %v, want never %v", perDay, f, err, never)
		}
		step := Day / Seconds(perDay)
		for now := Seconds(0); now < 1000*Day; now += step {
			for i := range p.Hosts {
				if h := &p.Hosts[i]; !h.Retired && h.RetiredAt <= now {
					h.Retired = true
				}
			}
			n, err := p.NextHost(c, r, now)
			if err != nil {
				if never {
					t.Fatalf("%d a day: %v at %s, forecast said never", perDay, err, now)
				}
				if now != f.FullAt {
					t.Errorf("%d a day: full at %s, forecast said %s", perDay, now, f.FullAt)
				}
				break
			}
			// RetiredAt of a living host is when it will be retired; NextHost does not look at it.
			h := Host{Name: "h", Cluster: "c0", Rack: "1", Number: n, RetiredAt: now + life}
			p.Hosts = append(p.Hosts, h)
			if len(p.Hosts) > 64 {
				p.Hosts = p.Hosts[len(p.Hosts)-32:]
			}
		}
	}
}

func TestUsageAndForecast(t *testing.T) {
	p, c, r := smallPlan(living(0), gone(1, 0), gone(2, 10*Day))
	u, err := p.Usage(c, r, 11*Day)
	if want := (Usage{Total: 4, Living: 1, Resting: 1, Rested: 1, Unused: 1}); err != nil || u != want {
		t.Errorf("Usage = %+v, %v, want %+v", u, err, want)
	}
	if u.Free() != 2 {
		t.Errorf("Free = %d, want 2", u.Free())
	}
	d := defaultPlan()
	rack := Usage{Total: 1024, Unused: 1024}
	for _, x := range []struct {
		churn  Churn
		never  bool
		held   uint64
		fullAt Seconds
	}{
		{Churn{64, 9 * Day}, true, 1024, 0},           // exactly the rack
		{Churn{64, 9*Day + 1}, false, 1025, 16 * Day}, // one second more
		{Churn{0, 9 * Day}, true, 0, 0},
		{Churn{1024, 0}, false, 7168, Day},
	} {
		f, err := d.ForecastRack(rack, x.churn, 0)
		if err != nil || f != (Forecast{Held: x.held, Never: x.never, FullAt: x.fullAt}) {
			t.Errorf("ForecastRack(%+v) = %+v, %v, want held %d, never %v, full at %s", x.churn, f, err, x.held, x.never, x.fullAt)
		}
	}
	if f, err := d.ForecastRack(rack, Churn{1 << 63, 1 << 62}, 0); err == nil {
		t.Errorf("a churn beyond counting gives %+v", f)
	}
	if f, err := d.ForecastRack(rack, Churn{1, -1}, 0); err == nil {
		t.Errorf("a negative life gives %+v", f)
	}
}

func TestCapacity(t *testing.T) {
	for name, c := range map[string]struct {
		l                      Lengths
		clusters, racks, hosts uint64
	}{
		"default": {DefaultLengths(), 128, 1023, 1024},
		"nibble":  {NibbleLengths(), 256, 255, 4096},
		"eks":     {Lengths{56, 56, 56, 64, 80}, 1, 255, 65533},
	} {
		p := Plan{Name: name, Prefix: netipPrefix(c.l.Fabric), Lengths: c.l}
		for _, n := range p.Capacity() {
			want := map[Level]uint64{LevelCluster: c.clusters, LevelRack: c.racks, LevelHost: c.hosts}[n.Level]
			if !n.Edge && n.Each != want {
				t.Errorf("%s: %d of %s, want %d", name, n.Each, n.Level, want)
			}
		}
	}
}

func TestSecondsString(t *testing.T) {
	for s, want := range map[Seconds]string{0: "0s", 59: "59s", 3600: "1h", Day + 61: "1d1m1s", -Day: "-1d"} {
		if got := s.String(); got != want {
			t.Errorf("%d seconds are %q, want %q", s, got, want)
		}
	}
}

func TestResting(t *testing.T) {
	elsewhere := Host{Name: "adopted", Prefix: pfx("2001:db8:1::/80"), Adopted: true}
	before := elsewhere
	before.Retired, before.RetiredAt = true, 12*Day-1
	for _, c := range []struct {
		name  string
		hosts []Host
		want  string
	}{
		{"another number", []Host{gone(1, 12*Day-1), living(2)}, ""},
		{"the last second of the rest", []Host{gone(1, 5*Day+1), living(1)},
			"host living: spec.number: number 1 was that of gone until 2025-01-06T00:00:01Z and rests until 2025-01-13T00:00:01Z, 7d in all: take another number; hexapod plan host add does"},
		{"the rest is over to the second", []Host{gone(1, 5*Day), living(1)}, ""},
		{"the second life counts", []Host{living(1), gone(1, 11*Day), gone(1, 1*Day)},
			"host living: spec.number: number 1 was that of gone until 2025-01-12T00:00:00Z and rests until 2025-01-19T00:00:00Z, 7d in all: take another number; hexapod plan host add does"},
		{"a clock before the record judges nobody", []Host{gone(1, 12*Day+1), living(1)},
			"host gone: spec.retired: warning: 2025-01-13T00:00:01Z lies ahead of this host's clock, 2025-01-13T00:00:00Z: correct the one that is wrong"},
		{"a prefix that a cloud gives again", []Host{before, elsewhere}, ""},
	} {
		p, _, _ := smallPlan(c.hosts...)
		got := ""
		for _, q := range p.Resting(12 * Day) {
			got += q.String()
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}
