package v1alpha1

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Prefix is an IPv6 or IPv4 prefix as a user writes it. It wraps netip.Prefix because the tools that make Kubernetes
// resources from these structs need DeepCopyInto on the type itself.
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Format=cidr
type Prefix struct{ netip.Prefix }

// PrefixFrom wraps p.
func PrefixFrom(p netip.Prefix) Prefix { return Prefix{p} }

// IsZero reports whether no prefix was given.
func (p Prefix) IsZero() bool { return !p.IsValid() }

// DeepCopyInto copies p into out.
func (p *Prefix) DeepCopyInto(out *Prefix) { *out = *p }

// DeepCopy returns a copy of p; nil of nil.
func (p *Prefix) DeepCopy() *Prefix {
	if p == nil {
		return nil
	}
	q := *p
	return &q
}

// UnmarshalText reads `address/length`. Host bits must be zero: a prefix with host bits is usually a mistyped length.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.Contains(s, "/") {
		if a, err := netip.ParseAddr(s); err == nil {
			return advise(fmt.Sprintf("%s has no length", s), fmt.Sprintf("write %s/%d for one address, or the length you mean", a, a.BitLen()))
		}
	}
	q, err := netip.ParsePrefix(s)
	if err != nil {
		return advise(fmt.Sprintf("%q is not a prefix", s), "write address/length, for example fd5c:1a2b:3c4d::/48")
	}
	if q != q.Masked() {
		return advise(fmt.Sprintf("%s has host bits set", s), fmt.Sprintf("write %s, or the length you mean", q.Masked()))
	}
	p.Prefix = q
	return nil
}

// Addr is an address as a user writes it. It wraps netip.Addr for the reason Prefix wraps netip.Prefix.
//
// +kubebuilder:validation:Type=string
type Addr struct{ netip.Addr }

// AddrFrom wraps a.
func AddrFrom(a netip.Addr) Addr { return Addr{a} }

// IsZero reports whether no address was given.
func (a Addr) IsZero() bool { return !a.IsValid() }

// DeepCopyInto copies a into out.
func (a *Addr) DeepCopyInto(out *Addr) { *out = *a }

// DeepCopy returns a copy of a; nil of nil.
func (a *Addr) DeepCopy() *Addr {
	if a == nil {
		return nil
	}
	b := *a
	return &b
}

// UnmarshalText reads an address without zone: which link an address belongs to is said by another field.
func (a *Addr) UnmarshalText(text []byte) error {
	b, err := netip.ParseAddr(string(text))
	if err != nil {
		return advise(fmt.Sprintf("%q is not an address", text), "write an address alone, for example 2001:db8::1")
	}
	if b.Zone() != "" {
		return advise(fmt.Sprintf("%s has a zone", b), fmt.Sprintf("write %s", b.WithZone("")))
	}
	a.Addr = b
	return nil
}

// advice is an error of one value that also knows what to do about it.
type advice struct{ what, next string }

func (a advice) Error() string { return a.what + "; " + a.next }

func advise(what, next string) error { return advice{what, next} }

// adviceOf splits an error of UnmarshalText into what is wrong and what to do.
func adviceOf(err error) (what, next string) {
	var a advice
	if errors.As(err, &a) {
		return a.what, a.next
	}
	return err.Error(), ""
}
