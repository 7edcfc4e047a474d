package file

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/model/identity"
)

const hostsPlan = `# a plan with racks of 16 hosts
apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata:
  name: small
spec:
  prefix: 2001:db8:7:100::/56
  lab: true
  levels: {cluster: 56, edgeCluster: 56, rack: 60, host: 64}
  rest: 7d
  clusters:
    - name: c0
      number: 0
      racks:
        - {name: r1, number: 1}
`

func hostsFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plan.yaml"), []byte(hostsPlan), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAddHostUntilFullAndBack(t *testing.T) {
	dir := hostsFolder(t)
	start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	add := func(name string, now time.Time) (*v1alpha1.Host, error) {
		return AddHost(dir, name, v1alpha1.HostSpec{Rack: "1"}, now)
	}
	for n := range uint32(16) {
		o, err := add("h"+string(rune('a'+n)), start)
		if err != nil || *o.Spec.Number != n || o.Spec.Rack != "r1" || o.Spec.Cluster != "c0" {
			t.Fatalf("host %d: %+v, %v", n, o, err)
		}
	}
	if _, err := add("late", start); err == nil || !strings.Contains(err.Error(), "all 16 host numbers are taken") {
		t.Errorf("host 17 of 16: %v", err)
	}
	if err := RetireHost(dir, "hc", start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := add("late", start.Add(2*time.Hour)); err == nil || !strings.Contains(err.Error(), "number 2 returns in 6d23h") {
		t.Errorf("a number that rests: %v", err)
	}
	o, err := add("late", start.Add(7*24*time.Hour+time.Hour))
	if err != nil || *o.Spec.Number != 2 {
		t.Errorf("a number whose rest is over: %+v, %v", o, err)
	}
	s, err := Load(dir)
	if err != nil || len(s.Objects.Hosts) != 17 {
		t.Errorf("%d hosts in the folder, %v, want 16 living and the record", len(s.Objects.Hosts), err)
	}
}

func TestAddHostRefuses(t *testing.T) {
	dir := hostsFolder(t)
	if err := os.WriteFile(filepath.Join(dir, "host-b.yaml"), []byte("# nothing yet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := AddHost(dir, "a", v1alpha1.HostSpec{Rack: "r1"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		host string
		spec v1alpha1.HostSpec
		want string
	}{
		"twice":         {"a", v1alpha1.HostSpec{Rack: "r1"}, "already in"},
		"no such rack":  {"c", v1alpha1.HostSpec{Rack: "r9"}, `no rack "r9"`},
		"a bad name":    {"../c", v1alpha1.HostSpec{Rack: "r1"}, "lower-case"},
		"file is there": {"b", v1alpha1.HostSpec{Rack: "r1"}, "holds something else"},
		"a bad uplink":  {"c", v1alpha1.HostSpec{Rack: "r1", Uplinks: []v1alpha1.Uplink{{Name: "a/b"}}}, "not a link name"},
	} {
		if o, err := AddHost(dir, c.host, c.spec, time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v, want %q", name, o, err, c.want)
		}
	}
}

func TestRetireHostKeepsTheFile(t *testing.T) {
	dir := hostsFolder(t)
	before := `# our hosts
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: a}
spec:
    # the first
    rack: r1 # left
    number: 0
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata:
  name: b
spec: {rack: r1, number: 1}
`
	path := filepath.Join(dir, "hosts.yml")
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if err := RetireHost(dir, "a", now); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(before, "    rack: r1 # left", "    retired: 2026-06-01T12:00:00Z\n    rack: r1 # left", 1)
	if string(got) != want {
		t.Errorf("the file is now\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	for host, want := range map[string]string{"a": "already", "b": "by hand", "c": "is not in"} {
		if err := RetireHost(dir, host, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("retire %s: %v, want %q", host, err, want)
		}
	}
}

func TestAddHostByManyAtOnce(t *testing.T) {
	dir := hostsFolder(t)
	var wait sync.WaitGroup
	var lock sync.Mutex
	seen := map[uint32]bool{}
	for i := range 12 {
		wait.Go(func() {
			o, err := AddHost(dir, "h"+string(rune('a'+i)), v1alpha1.HostSpec{Rack: "r1"}, time.Unix(1800000000, 0))
			lock.Lock()
			defer lock.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case seen[*o.Spec.Number]:
				t.Errorf("number %d twice", *o.Spec.Number)
			default:
				seen[*o.Spec.Number] = true
			}
		})
	}
	wait.Wait()
}

// TestRetireIdentity: the number goes out of use, its entry and the rest of the file stay.
func TestRetireIdentity(t *testing.T) {
	dir := hostsFolder(t)
	set := identity.Set{Namespace: "shop", Labels: map[string]string{"app": "web"}}
	first, _, err := AddIdentity(dir, set)
	must(t, err)
	path := filepath.Join(dir, IdentitiesFile)
	before, err := os.ReadFile(path)
	must(t, err)
	n, now := identity.Number(first.Spec.Number), time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if o, err := RetireIdentity(dir, n, now); err != nil || o.Spec.Retired == nil || !o.Spec.Retired.Equal(now) {
		t.Fatalf("got %+v, %v", o, err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if want := strings.Replace(string(before), "spec:\n", "spec:\n  retired: 2026-06-01T12:00:00Z\n", 1); string(after) != want {
		t.Errorf("the file is now\n%s\nwant\n%s", after, want)
	}
	for n, want := range map[identity.Number]string{n: "already", 999: "is not in"} {
		if _, err := RetireIdentity(dir, n, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("retire %s: %v, want %q", n, err, want)
		}
	}
	if second, added, err := AddIdentity(dir, set); err != nil || !added || second.Spec.Number == first.Spec.Number {
		t.Errorf("the set has %+v, %v, %v now, want a new number", second, added, err)
	}
}

// TestRestingNumber: Load has no clock, Resting has: it refuses the number until its rest is over, with the place.
func TestRestingNumber(t *testing.T) {
	dir := hostsFolder(t)
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	write(t, dir, map[string]string{"hosts.yaml": host("old", "3, retired: 2026-06-01T12:00:00Z") + host("new", "3")})
	s, err := Load(dir)
	must(t, err)
	found := s.Resting(now.Add(7*24*time.Hour - time.Second))
	if len(found.Errors()) != 1 || !strings.HasPrefix(found.Error(), filepath.Join(dir, "hosts.yaml")+":") ||
		!strings.Contains(found.Error(), "Host new: spec.number: number 3 was that of old until 2026-06-01T12:00:00Z and rests until 2026-06-08T12:00:00Z") {
		t.Errorf("got %v", found)
	}
	if found := s.Resting(now.Add(7 * 24 * time.Hour)); len(found) > 0 {
		t.Errorf("after the rest: %v", found)
	}
}
