package lab_test

import (
	"slices"
	"testing"
	"time"

	"hexapod.dev/agent/local"
	"hexapod.dev/lab"
	"hexapod.dev/lab/topology"
	"hexapod.dev/model/announce"
)

// One of the two ToRs of a rack loses a host: it stops to announce the rack, so that packets for that host come to the other one.
func TestTwoTorsOfARack(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Options{Name: testName("tors"), Size: topology.Size{Racks: 2, Hosts: 2, Endpoints: 1, TorsEach: 2}})
	f := fabric{t, l}
	if r, err := l.Check(t.Context(), nil); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	for _, tor := range []string{"tor1", "tor1b"} { // whichever of them the packets take
		stop, answered := f.stream("r2h1-e1", l.Addr("r1h1-e1"), patience)
		answered(fresh)
		link := map[string]string{"tor1": "to-r1h1", "tor1b": "to-r1h1-2"}[tor]
		if err := l.SetLink(tor, link, false); err != nil {
			t.Fatal(err)
		}
		sent := func() local.Sent {
			s, err := local.NewClient(f.folder(tor, "run/hexapod")).BGPSent(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		f.eventually(tor+" keeps the rack to itself, and tells the host it still has", func() bool {
			s := sent()
			return slices.ContainsFunc(s.Withheld, func(w announce.Withheld) bool { return w.Why == announce.WhyMemberLost }) &&
				slices.ContainsFunc(s.Announced, func(r announce.Route) bool { return r.Purpose == announce.PurposeMember })
		})
		answered(fresh)
		tally := stop()
		t.Logf("%s lost a host: %d of %d lost, %v without answers", tor, tally.Lost, tally.Sent, time.Duration(tally.Lost)*10*time.Millisecond)
		if err := l.SetLink(tor, link, true); err != nil {
			t.Fatal(err)
		}
		f.eventually("the rack announced again", func() bool { return len(sent().Withheld) == 0 })
		f.eventually("the sessions of r1h1 back", func() bool { return established(f.peers("r1h1")) })
	}
	if err := l.Converge(t.Context()); err != nil { // routes come after their session
		t.Fatal(err)
	}
	if r, err := l.Check(t.Context(), nil); err != nil || r.Err() != nil {
		t.Error(err, r.Err())
	}
}
