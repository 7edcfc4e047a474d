package identity

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rules(t testing.TB, exclude ...string) Rules {
	t.Helper()
	r, err := NewRules(KeyVersion, exclude...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKeyLeavesOutWhatControllersWrite(t *testing.T) {
	r := rules(t, "team/owner")
	base := Set{"shop", map[string]string{"app": "web", "tier": "front"}}
	want := r.Key(base)
	for _, l := range append(r.Excluded(), "team/owner") {
		with := Set{"shop", maps.Clone(base.Labels)}
		with.Labels[l] = "x1"
		if r.Key(with) != want {
			t.Errorf("label %s makes another identity", l)
		}
	}
	if n := len(r.Excluded()); n != 11 {
		t.Errorf("%d labels are left out, want the 10 of version 1 and one more", n)
	}
}

func TestKeyTellsSetsApart(t *testing.T) {
	r := rules(t)
	sets := []Set{
		{"", nil},
		{"shop", nil},
		{"shop", map[string]string{"app": ""}},
		{"shop", map[string]string{"app": "web"}},
		{"shop", map[string]string{"app": "we", "b": ""}},
		{"shop", map[string]string{"a": "pp"}},
		{"shop", map[string]string{"ap": "p"}},
		{"shopapp", map[string]string{"": "web"}},
		{"shop", map[string]string{"a": "b", "c": "d"}},
		{"shop", map[string]string{"a": "b\x01c\x01d"}},
		{"shop", map[string]string{"a": "d", "c": "b"}},
		{"bank", map[string]string{"app": "web"}},
	}
	seen := map[Key]Set{}
	for _, s := range sets {
		k := r.Key(s)
		if other, twice := seen[k]; twice {
			t.Errorf("%v and %v have one key", s, other)
		}
		seen[k] = s
	}
	if r.Key(Set{"shop", map[string]string{}}) != r.Key(Set{"shop", nil}) {
		t.Error("no labels and an empty list of labels differ")
	}
}

// TestKeyOpens is the proof that keys cannot collide: every key gives back its set.
func TestKeyOpens(t *testing.T) {
	r := rules(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		b := make([]byte, rnd.IntN(4)*rnd.IntN(60))
		for i := range b {
			b[i] = "ab/=\x00\x01\x80"[rnd.IntN(7)]
		}
		return string(b)
	}
	for range 5000 {
		s := Set{Namespace: text()}
		for range rnd.IntN(5) {
			if s.Labels == nil {
				s.Labels = map[string]string{}
			}
			s.Labels[text()] = text()
		}
		version, got, err := r.Key(s).Open()
		if err != nil || version != KeyVersion {
			t.Fatalf("%q: version %d, %v", s, version, err)
		}
		if diff := cmp.Diff(r.Reduce(s), got); diff != "" {
			t.Fatalf("-made +opened:\n%s", diff)
		}
	}
}

func FuzzKeyOpen(f *testing.F) {
	r := rules(f)
	f.Add("")
	f.Add(string(r.Key(Set{"shop", map[string]string{"app": "web", "tier": "front"}})))
	f.Fuzz(func(t *testing.T, bytes string) {
		_, s, err := Key(bytes).Open()
		if err != nil {
			return
		}
		for l := range s.Labels {
			if r.exclude[l] {
				return // older rules may have counted it
			}
		}
		if again := r.Key(s); string(again) != bytes {
			t.Errorf("%q opens as %v, which is %q", bytes, s, again)
		}
	})
}

func TestUnknownVersionIsRefused(t *testing.T) {
	for _, v := range []int{0, KeyVersion + 1} {
		if _, err := NewRules(v); err == nil {
			t.Errorf("version %d is accepted", v)
		}
	}
}
