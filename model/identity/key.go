package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Set is what an identity stands for: the endpoints of a namespace that have these labels.
type Set struct {
	Namespace string
	Labels    map[string]string
}

// String returns `namespace app=web tier=front`, labels sorted.
func (s Set) String() string {
	var b strings.Builder
	b.WriteString(s.Namespace)
	if s.Namespace == "" {
		b.WriteString("(no namespace)")
	}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		fmt.Fprintf(&b, " %s=%s", k, s.Labels[k])
	}
	return b.String()
}

// Key is a Set in canonical bytes: two sets are the same identity exactly if their keys are equal. Every part carries its
// length, so no label can be written to look like two.
type Key string

// Rules say which labels count. The zero value is not valid; NewRules makes one.
type Rules struct {
	version int
	exclude map[string]bool
}

// version1 leaves out the labels that Kubernetes' controllers put on each endpoint of a set anew: with them every rollout
// and every replica of a StatefulSet or Job would be an identity of its own.
var version1 = []string{
	"controller-uid",
	"batch.kubernetes.io/controller-uid",
	"job-name",
	"batch.kubernetes.io/job-name",
	"batch.kubernetes.io/job-completion-index",
	"pod-template-hash",
	"controller-revision-hash",
	"pod-template-generation",
	"statefulset.kubernetes.io/pod-name",
	"apps.kubernetes.io/pod-index",
}

// KeyVersion is the newest version of the key function.
const KeyVersion = 1

// NewRules returns the rules of a version of the key function, with more labels left out.
func NewRules(version int, exclude ...string) (Rules, error) {
	if version != KeyVersion {
		return Rules{}, fmt.Errorf("identity key version %d: this build knows version %d alone", version, KeyVersion)
	}
	r := Rules{version: version, exclude: map[string]bool{}}
	for _, l := range slices.Concat(version1, exclude) {
		r.exclude[l] = true
	}
	return r, nil
}

// Version returns the version of the key function.
func (r Rules) Version() int { return r.version }

// Excluded lists the labels that do not count, sorted.
func (r Rules) Excluded() []string { return slices.Sorted(maps.Keys(r.exclude)) }

// Reduce returns s with only the labels that count.
func (r Rules) Reduce(s Set) Set {
	kept := maps.Clone(s.Labels)
	maps.DeleteFunc(kept, func(k, _ string) bool { return r.exclude[k] })
	return Set{s.Namespace, kept}
}

// Key returns the canonical bytes of a set: version, namespace, then each label that counts, by name, all with their lengths.
func (r Rules) Key(s Set) Key {
	b := binary.AppendUvarint(make([]byte, 0, 64), uint64(r.version))
	b = appendText(b, s.Namespace)
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		if r.exclude[k] {
			continue
		}
		b = appendText(appendText(b, k), s.Labels[k])
	}
	return Key(b)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errKey = errors.New("the bytes are not an identity key")

// Open returns the version and the set that a key was made of. It accepts exactly what Rules.Key writes.
func (k Key) Open() (version int, s Set, err error) {
	rest := []byte(k)
	v, n := binary.Uvarint(rest)
	if n != 1 || v != KeyVersion {
		return 0, Set{}, errKey
	}
	rest = rest[n:]
	if s.Namespace, rest, err = cutText(rest); err != nil {
		return 0, Set{}, err
	}
	last := ""
	for first := true; len(rest) > 0; first = false {
		var name, value string
		if name, rest, err = cutText(rest); err != nil {
			return 0, Set{}, err
		}
		if value, rest, err = cutText(rest); err != nil {
			return 0, Set{}, err
		}
		if !first && name <= last {
			return 0, Set{}, errKey // a second spelling of one set
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[name], last = value, name
	}
	return int(v), s, nil
}

func cutText(b []byte) (s string, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) || n > 1 && b[n-1] == 0 {
		return "", nil, errKey
	}
	return string(b[n : n+int(length)]), b[n+int(length):], nil
}
