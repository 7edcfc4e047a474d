package v1alpha1

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Name is metadata.name. A plain word that YAML would read as a number (20010db8...) is a name all the same.
type Name string

// MarshalText returns the name.
func (n Name) MarshalText() ([]byte, error) { return []byte(n), nil }

// UnmarshalText takes any text; the checks judge it.
func (n *Name) UnmarshalText(text []byte) error {
	*n = Name(text)
	return nil
}

// Ref names a cluster or a rack by its number or by its name.
type Ref string

// MarshalText returns the reference.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r), nil }

// UnmarshalText takes any text; the checks judge it.
func (r *Ref) UnmarshalText(text []byte) error {
	*r = Ref(text)
	return nil
}

// UnmarshalJSON takes a text or a number: in a Kubernetes resource `rack: 3` arrives as a number.
func (r *Ref) UnmarshalJSON(data []byte) error {
	if n, err := strconv.ParseUint(string(data), 10, 32); err == nil {
		*r = Ref(strconv.FormatUint(n, 10))
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is neither a name nor a number: %w", data, err)
	}
	return r.UnmarshalText([]byte(text))
}

// Number returns the number if the reference is one.
func (r Ref) Number() (uint32, bool) {
	n, err := strconv.ParseUint(string(r), 0, 32)
	return uint32(n), err == nil
}

// Duration is a length of time as a user writes it: Go's form (90s, 10m, 12h30m) or whole days (7d).
//
// +kubebuilder:validation:Type=string
type Duration struct{ time.Duration }

const day = 24 * time.Hour

// IsZero reports whether no duration was given.
func (d Duration) IsZero() bool { return d.Duration == 0 }

// String returns whole days as 7d and everything else as Go does, without minutes and seconds that are zero.
func (d Duration) String() string {
	if d.Duration != 0 && d.Duration%day == 0 {
		return strconv.FormatInt(int64(d.Duration/day), 10) + "d"
	}
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what String writes.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err == nil && n >= 0 && n <= int64(1<<63-1)/int64(day) {
			d.Duration = time.Duration(n) * day
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return advise(fmt.Sprintf("%q is not a duration", s), "write whole days as 7d, or 12h, 10m, 90s")
	}
	d.Duration = v
	return nil
}

// Time is a moment in RFC 3339 form, kept in UTC.
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Format=date-time
type Time struct{ time.Time }

// TimeFrom wraps t, in UTC and whole seconds, which is what is written.
func TimeFrom(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// DeepCopyInto copies t into out.
func (t *Time) DeepCopyInto(out *Time) { *out = *t }

// MarshalText returns RFC 3339 in UTC.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.UTC().Format(time.RFC3339)), nil }

// MarshalJSON returns the quoted text; without it the embedded time would write parts of a second and its own zone.
func (t Time) MarshalJSON() ([]byte, error) {
	text, err := t.MarshalText()
	return []byte(strconv.Quote(string(text))), err
}

// UnmarshalJSON reads the quoted text.
func (t *Time) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	return t.UnmarshalText([]byte(text))
}

// UnmarshalText reads RFC 3339; parts of a second are dropped.
func (t *Time) UnmarshalText(text []byte) error {
	v, err := time.Parse(time.RFC3339, string(text))
	// An offset can push the first or last year out of what RFC 3339 can write.
	if err != nil || v.UTC().Year() < 1 || v.UTC().Year() > 9999 {
		return advise(fmt.Sprintf("%q is not a time", text), "write RFC 3339, for example 2026-01-31T12:00:00Z")
	}
	*t = TimeFrom(v)
	return nil
}

// MAC is an Ethernet address written as six pairs of hexadecimal digits.
//
// +kubebuilder:validation:Type=string
type MAC string

// MarshalText returns the address.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m), nil }

var macForm = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)

// UnmarshalText reads six pairs with colons or dashes, in either case, and keeps lower case with colons.
func (m *MAC) UnmarshalText(text []byte) error {
	s := strings.ReplaceAll(strings.ToLower(string(text)), "-", ":")
	if !macForm.MatchString(s) {
		return advise(fmt.Sprintf("%q is not an Ethernet address", text), "write six pairs, for example 02:00:00:00:00:01")
	}
	*m = MAC(s)
	return nil
}

// dnsForm is a name that Kubernetes accepts for an object (RFC 1123 labels joined by dots).
var dnsForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

const nameRule = "use lower-case letters, digits, '-' and '.', at most 253, starting and ending with a letter or digit"

func validName(s string) bool { return len(s) <= 253 && dnsForm.MatchString(s) }

// The two forms of label parts: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
var (
	labelName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$`)
)

func validLabelKey(k string) bool {
	if prefix, name, ok := strings.Cut(k, "/"); ok {
		return validName(prefix) && labelName.MatchString(name)
	}
	return labelName.MatchString(k)
}
