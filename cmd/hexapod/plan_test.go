package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/objects"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/addressplan/render"
)

// fixedBits is randomness that a test can repeat.
func fixedBits() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1}) }

// newPlan makes a folder with a plan.
func newPlan(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config")
	var out bytes.Buffer
	if err := planNew(environment{stdout: &out, stderr: &out}, append(args, "--out", dir), fixedBits()); err != nil {
		t.Fatalf("plan new %q: %v\n%s", args, err, out.String())
	}
	return dir
}

func TestPlanNewIsReadBack(t *testing.T) {
	for name, args := range map[string][]string{
		"own /32":    {"--from", "2001:db8::/32", "--lab", "--racks", "3", "--hosts", "4"},
		"nibble":     {"--from", "2001:db8::/32", "--lab", "--profile", "nibble", "--hosts", "1", "--fabric", "15"},
		"/48":        {"--from", "2001:db8:1::/48", "--lab", "--hosts", "2", "--spine-asn", "4200999999"},
		"/56":        {"--from", "2001:db8:1:100::/56", "--lab", "--racks", "15", "--hosts", "16"},
		"eks":        {"--from", "2001:db8:1:100::/56", "--lab", "--eks", "--racks", "2", "--hosts", "3"},
		"ula":        {"--from", "ula", "--hosts", "1"},
		"ula sealed": {"--from", "ula", "--sealed", "--hosts", "1"},
		"no hosts":   {"--from", "ula", "--racks", "0"},
		"lengths":    {"--from", "2001:db8:1:100::/60", "--lab", "--rack-length", "72", "--host-length", "96", "--hosts", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newPlan(t, args...)
			if out, errs, code := hexapod(t, "plan", "check", dir); code != 0 {
				t.Errorf("plan check: %s%s", out, errs)
			}
			// A second plan must not write over the first.
			var out bytes.Buffer
			if err := planNew(environment{stdout: &out, stderr: &out}, append(args, "--out", dir), fixedBits()); err == nil {
				t.Error("a plan was written over another")
			}
		})
	}
}

func TestPlanNewSaysWhatReadableMeans(t *testing.T) {
	out, _, code := hexapod(t, "plan", "new", "--from", "ula")
	if code != 0 || !strings.Contains(out, "tells everybody who sees it its host, the number of its workload and its birth time") || !strings.Contains(out, "hostPart: sealed") {
		t.Errorf("plan new does not say what a readable address tells:\n%s", out)
	}
}

func TestPlanRefuses(t *testing.T) {
	dir := newPlan(t, "--from", "ula", "--racks", "2", "--hosts", "1")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"documentation":     {[]string{"new", "--from", "2001:db8::/32"}, 1, "no real network may use"},
		"no prefix":         {[]string{"new"}, 2, "--from"},
		"not a prefix":      {[]string{"new", "--from", "x"}, 2, "is no prefix"},
		"unknown profile":   {[]string{"new", "--from", "ula", "--profile", "x"}, 2, "default or nibble"},
		"no verb":           {[]string{"draw"}, 2, `hexapod plan: no command "draw"`},
		"no verb of hosts":  {[]string{"host", "move"}, 2, `hexapod plan host: no command "move"`},
		"life alone":        {[]string{"capacity", "--config", dir, "--life", "9d"}, 2, "--per-day"},
		"two scopes":        {[]string{"render", "--config", dir, "--for", "frr", "--rack", "r1", "--host", "r1h1"}, 2, "want one of"},
		"no target":         {[]string{"render", "--config", dir}, 2, "--for"},
		"unknown target":    {[]string{"render", "--config", dir, "--for", "x"}, 2, "what to write: frr"},
		"no spine AS":       {[]string{"render", "--config", dir, "--for", "frr", "--rack", "r1"}, 1, "spec.asn.spine"},
		"host without rack": {[]string{"host", "add", "--config", dir, "h"}, 2, "--rack"},
		"host twice":        {[]string{"host", "add", "--config", dir, "--rack", "r1", "r1h1"}, 1, "already in"},
		"two hosts":         {[]string{"host", "add", "h", "--rack", "r1", "i"}, 2, "want NAME alone"},
		"retire nobody":     {[]string{"host", "retire", "--config", dir, "h"}, 1, "is not in"},
		"no folder":         {[]string{"show", "--config", dir + "/none"}, 1, "none"},
		"words":             {[]string{"show", "x"}, 2, "takes no words"},
	} {
		out, errs, code := hexapod(t, append([]string{"plan"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d %q %q, want exit %d with %q", name, code, out, errs, c.code, c.want)
		}
	}
}

func TestPlanHostsComeAndGo(t *testing.T) {
	dir := newPlan(t, "--from", "ula", "--racks", "2", "--hosts", "1")
	out, errs, code := hexapod(t, "plan", "host", "add", "--config", dir, "--rack", "r2", "--mac", "02-00-00-00-00-0A", "extra")
	if code != 0 || !strings.Contains(out, "host extra is number 1 of rack r2 in cluster c0: fd") {
		t.Fatalf("host add: %d %s%s", code, out, errs)
	}
	if out, errs, code = hexapod(t, "plan", "host", "retire", "--config", dir, "extra"); code != 0 || !strings.Contains(out, "rests for 7d") {
		t.Fatalf("host retire: %d %s%s", code, out, errs)
	}
	out, errs, code = hexapod(t, "plan", "show", "--config", dir)
	if code != 0 || !strings.Contains(out, "host extra  fd") || !strings.Contains(out, "rests 6d23h59m") && !strings.Contains(out, "rests 7d") {
		t.Errorf("show: %d %s%s", code, out, errs)
	}
	if out, errs, code = hexapod(t, "plan", "host", "add", "--config", dir, "--rack", "r2", "next"); code != 0 || !strings.Contains(out, "number 2") {
		t.Errorf("the number of a host that is gone was given out at once: %d %s%s", code, out, errs)
	}
	var capacity struct{ Racks []rackCapacity }
	if out, errs, code = hexapod(t, "plan", "capacity", "--config", dir, "-o", "json", "--per-day", "100", "--life", "1d"); code != 0 {
		t.Fatalf("capacity: %s", errs)
	}
	if err := json.Unmarshal([]byte(out), &capacity); err != nil {
		t.Fatal(err)
	}
	r2 := capacity.Racks[1]
	if want := (addressplan.Usage{Total: 256, Living: 2, Resting: 1, Unused: 253}); r2.Usage != want || *r2.Held != 800 || r2.FullAt == nil {
		t.Errorf("capacity of r2: %+v held %d full %v, want %+v, 800 held and a date", r2.Usage, *r2.Held, r2.FullAt, want)
	}
	if out, errs, code = hexapod(t, "plan", "capacity", "--config", dir, "--per-day", "1", "--life", "1d"); code != 0 || !strings.Contains(out, "never") {
		t.Errorf("capacity of a quiet rack: %s%s", out, errs)
	}
}

func TestPlanCheckAgainst(t *testing.T) {
	running, same := newPlan(t, "--from", "ula", "--hosts", "1"), newPlan(t, "--from", "ula", "--hosts", "1")
	if out, errs, code := hexapod(t, "plan", "check", "--against", running, same); code != 0 || !strings.Contains(out, "no living host") {
		t.Errorf("the same plan: %d %s%s", code, out, errs)
	}
	other := newPlan(t, "--from", "fd99:8877:6655::/48", "--hosts", "1")
	if _, errs, code := hexapod(t, "plan", "check", "--against", running, other); code != 1 || !strings.Contains(errs, "renumbered to fd99:8877:6655:100::/64") {
		t.Errorf("another plan: %d %s", code, errs)
	}
}

func TestPlanShowAndRender(t *testing.T) {
	dir := newPlan(t, "--from", "ula", "--racks", "2", "--hosts", "2", "--spine-asn", "4200999999")
	svg := filepath.Join(t.TempDir(), "plan.svg")
	if _, errs, code := hexapod(t, "plan", "show", "--config", dir, "--svg", svg, "-o", "json"); code != 0 {
		t.Errorf("show: %s", errs)
	}
	if text, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(text, []byte("<svg")) {
		t.Errorf("the picture: %v %.40s", err, text)
	}
	for _, args := range [][]string{
		{"frr", "--rack", "r1", "--port", "r1h1=swp7"}, {"bird", "--spine", "1", "--outside", "swp1,swp2"}, {"filter", "--spine", "1", "--outside", "swp1"},
		{"radvd", "--rack", "c0/r1"}, {"kea", "--rack", "r2"}, {"kubeadm"}, {"docker", "--host", "r1h1"}, {"zone", "--domain", "example.net"}, {"json"},
	} {
		out, errs, code := hexapod(t, append([]string{"plan", "render", "--config", dir, "--for"}, args...)...)
		if code != 0 || len(out) < 40 {
			t.Errorf("render for %s: %d %s%s", args, code, out, errs)
		}
		if args[0] == "frr" && !strings.Contains(out, "neighbor swp7 interface") {
			t.Errorf("--port has no effect:\n%s", out)
		}
	}
	to := t.TempDir()
	if out, errs, code := hexapod(t, "plan", "render", "--config", dir, "--for", "zone", "--out", to); code != 0 || !strings.Contains(out, ".ip6.arpa.zone") {
		t.Errorf("render into a folder: %s%s", out, errs)
	}
}

// FuzzPlan: the text of every plan that can be made is read back as the same plan.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{0xfd, 1, 2, 3, 4, 5}, uint8(48), uint8(0), uint8(0), uint8(0), uint8(3), uint8(4), false, false)
	f.Add([]byte{0x2a, 0, 1, 2}, uint8(32), uint8(0), uint8(0), uint8(0), uint8(1), uint8(1), true, false)
	f.Add([]byte{0x20, 0x01, 0x0d, 0xb8, 1}, uint8(60), uint8(72), uint8(96), uint8(0), uint8(2), uint8(2), false, true)
	f.Add([]byte{0x2a, 0, 1, 2, 3, 4}, uint8(56), uint8(64), uint8(80), uint8(7), uint8(9), uint8(9), true, true)
	f.Fuzz(func(t *testing.T, raw []byte, bits, rack, host, fabric, racks, hosts uint8, nibble, lab bool) {
		var a [16]byte
		copy(a[:], raw)
		from := netip.PrefixFrom(netip.AddrFrom16(a), int(bits)%129).Masked()
		want, err := addressplan.New(addressplan.Shape{Name: "fuzz", From: from, Nibble: nibble, Fabric: uint64(fabric), Lab: lab,
			Lengths: addressplan.Lengths{Rack: int(rack), Host: int(host)}, Racks: int(racks % 16), Hosts: int(hosts % 16)})
		if err != nil {
			return
		}
		files, err := render.Config(want, "")
		if err != nil {
			t.Fatal(err)
		}
		var all []v1alpha1.Object
		for _, file := range files {
			list, problems := v1alpha1.Decode(file.Name, []byte(file.Text))
			if len(problems.Errors()) > 0 {
				t.Fatalf("plan of %s %+v is refused when it is read: %v", from, want.Lengths, problems)
			}
			all = append(all, list...)
		}
		got := objects.Plan(v1alpha1.Group(all))
		byName := cmpopts.SortSlices(func(a, b addressplan.Host) bool { return a.Name < b.Name })
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty(), byName); d != "" {
			t.Errorf("plan of %s changed on the way (-made +read):\n%s", from, d)
		}
	})
}
