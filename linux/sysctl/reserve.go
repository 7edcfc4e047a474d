package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Settings of the ports that the kernel gives to sockets which ask for any. They hold for IPv6 sockets too.
const (
	reservedPorts  Key = "net/ipv4/ip_local_reserved_ports"
	ephemeralPorts Key = "net/ipv4/ip_local_port_range"
)

// Ports is a set of ports.
type Ports [65536]bool

// PortRange is the set of the ports from first to last.
func PortRange(first, last uint16) *Ports {
	p := &Ports{}
	for i := int(first); i <= int(last); i++ {
		p[i] = true
	}
	return p
}

// ParsePorts reads a list as the kernel shows it: 8080,9148-9200.
func ParsePorts(text string) (*Ports, error) {
	p := &Ports{}
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err := errors.Join(err, err2); err != nil || first > last {
			return nil, fmt.Errorf("%q is no list of ports", text)
		}
		for i := first; i <= last; i++ {
			p[i] = true
		}
	}
	return p, nil
}

// String is the list as the kernel takes it.
func (p *Ports) String() string {
	var parts []string
	for i := 0; i < len(p); i++ {
		if !p[i] {
			continue
		}
		first := i
		for i+1 < len(p) && p[i+1] {
			i++
		}
		if part := strconv.Itoa(first); i > first {
			parts = append(parts, part+"-"+strconv.Itoa(i))
		} else {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ",")
}

// Reservation keeps ports from sockets that ask the kernel for any port. What others reserved stays theirs: a file remembers what was added.
type Reservation string

// Reserve makes the kernel keep want, and gives what was reserved before and is not wanted any more. It returns how many ports are left to
// sockets that ask for any, and does nothing when they would be fewer than least.
func (r Reservation) Reserve(t *Table, want *Ports, least int) (left int, err error) {
	err = t.do(func() error { left, err = r.reserve(t, want, least); return err })
	if err != nil {
		return left, fmt.Errorf("reserve ports: %w", err)
	}
	return left, nil
}

// Release gives back all that was reserved.
func (r Reservation) Release(t *Table) error {
	if _, err := os.Stat(string(r)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := r.Reserve(t, &Ports{}, 0)
	return err
}

func (r Reservation) reserve(t *Table, want *Ports, least int) (left int, err error) {
	have, err := t.ports(reservedPorts)
	if err != nil {
		return 0, err
	}
	added, err := r.added()
	if err != nil {
		return 0, err
	}
	next, mine := *have, *want
	for i := range next {
		others := have[i] && !added[i]
		mine[i] = want[i] && !others
		next[i] = others || mine[i]
	}
	if left, err = t.left(&next); err != nil || left < least {
		return left, err
	}
	if mine != (Ports{}) { // noted before it is done: what is noted and not done is no harm
		if err := r.note(&mine, added); err != nil {
			return left, err
		}
	}
	if next != *have {
		if err := os.WriteFile(t.path(reservedPorts), []byte(next.String()+"\n"), 0o644); err != nil {
			return left, fmt.Errorf("set %s to %s: %w", reservedPorts, &next, cause(err))
		}
	}
	if mine == (Ports{}) {
		if err := os.Remove(string(r)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return left, err
		}
	}
	return left, nil
}

// ports reads a list of ports.
func (t *Table) ports(key Key) (*Ports, error) {
	text, err := t.read(key)
	if err != nil {
		return nil, err
	}
	return ParsePorts(text)
}

// left counts the ports that sockets may get which ask for any, when those of next are reserved.
func (t *Table) left(next *Ports) (n int, err error) {
	text, err := t.read(ephemeralPorts)
	if err != nil {
		return 0, err
	}
	var first, last int
	if _, err := fmt.Sscan(text, &first, &last); err != nil || first < 0 || last >= len(next) {
		return 0, fmt.Errorf("setting %s: it says %q, want two ports", ephemeralPorts, text)
	}
	for i := first; i <= last; i++ {
		if !next[i] {
			n++
		}
	}
	return n, nil
}

// added is what was reserved here.
func (r Reservation) added() (*Ports, error) {
	text, err := os.ReadFile(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return &Ports{}, nil
	}
	if err != nil {
		return nil, err
	}
	return ParsePorts(string(text))
}

// note remembers what is reserved from now on.
func (r Reservation) note(mine, before *Ports) error {
	if *mine == *before {
		return nil
	}
	draft := string(r) + ".draft"
	err := os.WriteFile(draft, []byte(mine.String()+"\n"), 0o600)
	if err == nil {
		err = os.Rename(draft, string(r))
	}
	if err != nil {
		return fmt.Errorf("remember what is reserved: %w", err)
	}
	return nil
}
