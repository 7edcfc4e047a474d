package desired_test

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"hexapod.dev/model/desired"
)

var update = flag.Bool("update", false, "write the answers into testdata instead of comparing them")

// snapshotFile is a snapshot as the archives in testdata write it.
type snapshotFile struct {
	Config    desired.Config
	Facts     desired.Facts
	Endpoints []desired.Endpoint
	Delegated desired.Delegated
}

func (f snapshotFile) snapshot() desired.Snapshot {
	s := desired.Snapshot{Config: f.Config, Facts: f.Facts, Delegated: f.Delegated}
	for _, e := range f.Endpoints {
		s.Endpoints = s.Endpoints.Set(e.Key, e)
	}
	return s
}

// Each archive holds a snapshot and what `ip` shows on a host that made it true.
func TestFor(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %d archives, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil || len(ar.Files) != 2 {
				t.Fatalf("%s: %v, want two files: snapshot.json and ip.txt", file, err)
			}
			var in snapshotFile
			dec := json.NewDecoder(strings.NewReader(string(ar.Files[0].Data)))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&in); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			have := desired.For(in.snapshot()).Text()
			if *update {
				ar.Files[1].Data = []byte(have)
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(ar.Files[1].Data), have); d != "" {
				t.Errorf("-want +have\n%s", d)
			}
			for range 16 { // the endpoints come in another order each time, and that must not move anything on the host
				if d := cmp.Diff(have, desired.For(in.snapshot()).Text()); d != "" {
					t.Fatalf("the same snapshot, made twice: -first +second\n%s", d)
				}
			}
		})
	}
}

// What an ADD makes for one endpoint is what the whole state holds for it: otherwise a resync would undo an ADD.
func TestOneEndpointAgreesWithWhole(t *testing.T) {
	e := desired.Endpoint{
		Key:   desired.EndpointKey{Container: "c1", Interface: "eth0"},
		NetNS: "/run/netns/c1",
		Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:0:1:100::1"), netip.MustParseAddr("2001:db8:0:1:100::2")},
	}
	s := snapshotFile{Endpoints: []desired.Endpoint{e}}.snapshot()
	st := desired.For(s)
	if d := cmp.Diff(desired.LinkFor(e, s.Sizes()), st.Links[e.Key], cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Errorf("link: -one +whole\n%s", d)
	}
	for _, r := range desired.RoutesFor(e) {
		if st.Routes[r.Dst] != r {
			t.Errorf("route %s is not in the whole state", r)
		}
	}
	for _, n := range desired.NeighboursFor(e) {
		if st.Neighbours[desired.NeighbourKey{Link: n.Link, Addr: n.Addr}] != n {
			t.Errorf("neighbour %s is not in the whole state", n)
		}
	}
	if len(st.Routes) != 2 || len(st.Neighbours) != 2 || len(st.Links) != 1 {
		t.Errorf("whole state has more than the endpoint:\n%s", st.Text())
	}
}
