package ipam

import (
	"encoding/binary"
	"errors"
)

// Owner is whom an address was given to, in the words of whoever asked for it.
type Owner struct {
	Container string // the runtime's id of the endpoint
	Interface string // its interface
	Namespace string
	Name      string
	UID       string
	NetNS     string // path of its network namespace
	Network   string // name of the network it was attached to (CNI 1.1 GC goes by network)
}

// Packed is an Owner in the bytes of its record: seven strings, each behind its length (uvarint), container and interface first.
type Packed string

// ownerFields is how many strings a packed owner has.
const ownerFields = 7

var errOwner = errors.New("owner is not seven strings with their lengths")

// Pack returns o in the bytes of its record.
func (o Owner) Pack() Packed {
	fields := [...]string{o.Container, o.Interface, o.Namespace, o.Name, o.UID, o.NetNS, o.Network}
	size := 0
	for _, f := range fields {
		size += len(f) + 2
	}
	b := make([]byte, 0, size)
	for _, f := range fields {
		b = appendString(b, f)
	}
	return Packed(b)
}

// PackKey returns the bytes every packed owner of that container and interface begins with.
func PackKey(container, iface string) string {
	return string(appendString(appendString(make([]byte, 0, len(container)+len(iface)+4), container), iface))
}

// Key returns the part of p that names container and interface, as PackKey writes it.
func (p Packed) Key() string {
	rest := string(p)
	for range 2 {
		_, tail, err := cutString(rest)
		if err != nil {
			return string(p)
		}
		rest = tail
	}
	return string(p[:len(p)-len(rest)])
}

// Unpack returns the owner. It fails when p was not made by Pack.
func (p Packed) Unpack() (Owner, error) {
	var o Owner
	rest := string(p)
	for _, f := range []*string{&o.Container, &o.Interface, &o.Namespace, &o.Name, &o.UID, &o.NetNS, &o.Network} {
		var err error
		if *f, rest, err = cutString(rest); err != nil {
			return Owner{}, err
		}
	}
	if rest != "" {
		return Owner{}, errOwner
	}
	return o, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutString takes one string with its length from the front of s.
func cutString(s string) (field, rest string, err error) {
	n, size, err := stringLength(s)
	if err != nil {
		return "", "", err
	}
	return s[size : size+n], s[size+n:], nil
}

// stringLength reads the length at the front of s, in its shortest form, and checks that s has as many bytes behind it. size is
// how many bytes the length itself takes.
func stringLength(s string) (n, size int, err error) {
	for i := 0; i < len(s) && i < 3; i++ {
		n |= int(s[i]&0x7f) << (7 * i)
		if s[i] >= 0x80 {
			continue
		}
		if s[i] == 0 && i > 0 || n > len(s)-i-1 {
			return 0, 0, errOwner
		}
		return n, i + 1, nil
	}
	return 0, 0, errOwner
}
