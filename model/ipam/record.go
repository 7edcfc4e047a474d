package ipam

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// RecordKind tells what a record says. The numbers are on disk.
type RecordKind uint8

const (
	RecordAllocate RecordKind = 1 // an address was given to an owner
	RecordRetire   RecordKind = 2 // an address was taken back for good
	RecordMark     RecordKind = 3 // nothing above Position was given out
	RecordBoot     RecordKind = 4 // this machine, boot and host prefix write from here on
	RecordClock    RecordKind = 5 // the operator vouched for the clock
)

func (k RecordKind) String() string {
	if k >= RecordAllocate && k <= RecordClock {
		return [...]string{"allocate", "retire", "mark", "boot", "clock accepted"}[k-1]
	}
	return fmt.Sprintf("record kind %d", uint8(k))
}

// Record is one line of a journal. Which fields count depends on Kind; the others are zero.
type Record struct {
	Kind RecordKind
	Time Seconds // by the host's clock; not before Epoch

	Addr     netip.Addr // allocate, retire
	Identity uint16     // allocate
	Fixed    bool       // allocate: a fixed address from a pool
	// Restated is set in what a segment of the journal repeats at its start: the state when it was begun, not a new event.
	Restated bool
	Position uint64 // allocate, mark: stamp or counter
	Owner    Packed // allocate

	Boot Boot // boot
}

// Boot is who writes a journal.
type Boot struct {
	Machine    [16]byte // machine id
	ID         [16]byte // boot id
	Generation [16]byte // VM generation id; zero when there is none
	Host       string
	Prefix     netip.Prefix
}

const (
	flagFixed    = 1 << 0
	flagRestated = 1 << 1
)

// maxHostName bounds the one string of a boot record.
const maxHostName = 253

// Append writes r behind b: kind, flags, time (uvarint), then the fields of the kind. Addresses and prefixes are IPv6.
func (r *Record) Append(b []byte) []byte {
	var flags byte
	if r.Fixed {
		flags |= flagFixed
	}
	if r.Restated {
		flags |= flagRestated
	}
	b = append(b, byte(r.Kind), flags)
	b = binary.AppendUvarint(b, uint64(r.Time))
	switch r.Kind {
	case RecordAllocate:
		addr := r.Addr.As16()
		b = append(b, addr[:]...)
		b = binary.BigEndian.AppendUint16(b, r.Identity)
		b = binary.AppendUvarint(b, r.Position)
		b = append(b, r.Owner...)
	case RecordRetire:
		addr := r.Addr.As16()
		b = append(b, addr[:]...)
	case RecordMark:
		b = binary.AppendUvarint(b, r.Position)
	case RecordBoot:
		b = append(append(append(b, r.Boot.Machine[:]...), r.Boot.ID[:]...), r.Boot.Generation[:]...)
		addr := r.Boot.Prefix.Addr().As16()
		b = append(append(b, addr[:]...), byte(r.Boot.Prefix.Bits()))
		b = append(b, r.Boot.Host...)
	}
	return b
}

var (
	errShort   = errors.New("record ends early")
	errLong    = errors.New("record has bytes behind its end")
	errKind    = errors.New("record is of a kind this version does not know")
	errFlags   = errors.New("record has flags this version does not know")
	errNumber  = errors.New("record has a number that is too large or written in a longer way than needed")
	errPrefix  = errors.New("boot record has no valid host prefix")
	errAddress = errors.New("record has no IPv6 address")
)

// ParseRecord reads one record that fills b. Nothing of b is kept. ParseRecord accepts exactly what Append writes.
func ParseRecord(b []byte) (Record, error) {
	if len(b) < 2 {
		return Record{}, errShort
	}
	r := Record{Kind: RecordKind(b[0]), Fixed: b[1]&flagFixed != 0, Restated: b[1]&flagRestated != 0}
	if b[1]&^(flagFixed|flagRestated) != 0 {
		return Record{}, errFlags
	}
	time, b, err := cutUvarint(b[2:])
	if err != nil {
		return Record{}, err
	}
	r.Time = Seconds(time)
	if r.Time < 0 {
		return Record{}, errNumber
	}
	switch r.Kind {
	case RecordAllocate:
		b, err = r.parseAllocate(b)
	case RecordRetire:
		b, err = r.parseAddr(b)
	case RecordMark:
		r.Position, b, err = cutUvarint(b)
	case RecordBoot:
		b, err = r.parseBoot(b)
	case RecordClock:
	default:
		err = errKind
	}
	if err == nil && len(b) > 0 {
		err = errLong
	}
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

func (r *Record) parseAddr(b []byte) ([]byte, error) {
	if len(b) < 16 {
		return nil, errShort
	}
	r.Addr = netip.AddrFrom16([16]byte(b[:16]))
	if r.Addr.Is4In6() {
		return nil, errAddress
	}
	return b[16:], nil
}

func (r *Record) parseAllocate(b []byte) ([]byte, error) {
	b, err := r.parseAddr(b)
	if err != nil {
		return nil, err
	}
	if len(b) < 2 {
		return nil, errShort
	}
	r.Identity = binary.BigEndian.Uint16(b)
	if r.Position, b, err = cutUvarint(b[2:]); err != nil {
		return nil, err
	}
	r.Owner = Packed(b)
	return nil, r.Owner.valid()
}

// valid checks the shape of p without unpacking it.
func (p Packed) valid() error {
	rest := string(p)
	for range ownerFields {
		n, size, err := stringLength(rest)
		if err != nil {
			return err
		}
		rest = rest[size+n:]
	}
	if rest != "" {
		return errOwner
	}
	return nil
}

func (r *Record) parseBoot(b []byte) ([]byte, error) {
	if len(b) < 16*4+1 {
		return nil, errShort
	}
	r.Boot.Machine, r.Boot.ID, r.Boot.Generation = [16]byte(b[:16]), [16]byte(b[16:32]), [16]byte(b[32:48])
	addr := netip.AddrFrom16([16]byte(b[48:64]))
	prefix := netip.PrefixFrom(addr, int(b[64]))
	if addr.Is4In6() || !prefix.IsValid() || prefix != prefix.Masked() {
		return nil, errPrefix
	}
	if len(b) > 65+maxHostName {
		return nil, errLong
	}
	r.Boot.Prefix, r.Boot.Host = prefix, string(b[65:])
	return nil, nil
}

// cutUvarint takes a number from the front of b, in its shortest form.
func cutUvarint(b []byte) (uint64, []byte, error) {
	n, size := binary.Uvarint(b)
	switch {
	case size == 0:
		return 0, nil, errShort
	case size < 0, size > 1 && b[size-1] == 0:
		return 0, nil, errNumber
	}
	return n, b[size:], nil
}
