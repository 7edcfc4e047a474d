package service

import "net/netip"

// Entry is a frontend as the kernel holds it.
type Entry struct {
	ID              uint32 // its number in the kernel's maps; never 0
	Table           Table
	AffinitySeconds uint32
}

// Client tells two clients apart where a service keeps each at its backend: the network namespace of a socket, by its cookie, or
// the source address of a packet.
type Client [16]byte

// Call is one question: a socket connects or sends to a key.
type Call struct {
	Key    Key
	Client Client
	Socket uint64 // its cookie
	Random uint32
	Now    uint32 // seconds of a clock that does not go back
	// Sends is set for a datagram on a socket that is not connected. All datagrams of one socket to one frontend go to one backend.
	Sends bool
}

// Action is what becomes of a call.
type Action uint8

// The actions. Pass is 0: what is no service is left alone.
const (
	Pass Action = iota
	Translate
	Refuse
)

func (a Action) String() string {
	switch a {
	case Translate:
		return "translate"
	case Refuse:
		return "refuse"
	}
	return "pass"
}

// Translator is what the kernel's hooks do, with maps that never overflow. It is the readable twin of bpf/include/service.h.
type Translator struct {
	entries  map[Key]Entry
	vips     map[netip.Addr]int // how many entries an address has
	affinity map[affinityKey]affinity
	sends    map[sendKey]Seat
}

type affinityKey struct {
	client Client
	id     uint32
}

type affinity struct {
	Seat
	seen uint32
}

type sendKey struct {
	socket uint64
	id     uint32
}

// Seat is a backend and the slot it had in its table: by the slot, whoever remembers the backend sees whether it still lives.
type Seat struct {
	Backend netip.AddrPort
	Slot    uint16
}

// Set makes k lead to e, at once and as a whole.
func (t *Translator) Set(k Key, e Entry) {
	if t.entries == nil {
		t.entries, t.vips = map[Key]Entry{}, map[netip.Addr]int{}
		t.affinity, t.sends = map[affinityKey]affinity{}, map[sendKey]Seat{}
	}
	if _, known := t.entries[k]; !known {
		t.vips[k.Addr]++
	}
	t.entries[k] = e
}

// Delete makes k no service any more.
func (t *Translator) Delete(k Key) {
	if _, known := t.entries[k]; !known {
		return
	}
	delete(t.entries, k)
	if t.vips[k.Addr]--; t.vips[k.Addr] == 0 {
		delete(t.vips, k.Addr)
	}
}

// Owns reports whether an address belongs to a service, whatever the port.
func (t *Translator) Owns(a netip.Addr) bool { return t.vips[a] > 0 }

// Holds reports whether a backend that was remembered still answers for k.
func (t *Translator) Holds(k Key, s Seat) bool {
	e, known := t.entries[k]
	return known && e.Table.Holds(s.Backend, s.Slot)
}

// Translate answers a call. The backend is valid for Translate alone.
func (t *Translator) Translate(c Call) (Action, netip.AddrPort) {
	a, s := t.Choose(c)
	return a, s.Backend
}

// Choose is Translate with the seat of the backend.
func (t *Translator) Choose(c Call) (Action, Seat) {
	e, known := t.entries[c.Key]
	if !known {
		if t.Owns(c.Key.Addr) { // a port that the service does not have: nobody else has it either
			return Refuse, Seat{}
		}
		return Pass, Seat{}
	}
	send := sendKey{c.Socket, e.ID}
	if c.Sends {
		if s, known := t.sends[send]; known && e.Table.Holds(s.Backend, s.Slot) {
			return Translate, s
		}
	}
	client := affinityKey{c.Client, e.ID}
	chosen, found := t.remembered(e, client, c.Now)
	if !found {
		hash := c.Random
		if c.Sends { // a socket that was forgotten finds the same backend again
			hash = uint32(Mix(c.Socket ^ uint64(e.ID)<<32))
		}
		b, slot, ok := e.Table.Pick(hash)
		if !ok {
			return Refuse, Seat{}
		}
		chosen = Seat{b, slot}
	}
	if e.AffinitySeconds > 0 {
		t.affinity[client] = affinity{chosen, c.Now}
	}
	if c.Sends {
		t.sends[send] = chosen
	}
	return Translate, chosen
}

// remembered returns where the client was last, if that was not too long ago and the backend lives.
func (t *Translator) remembered(e Entry, client affinityKey, now uint32) (Seat, bool) {
	a, known := t.affinity[client]
	if e.AffinitySeconds == 0 || !known || now-a.seen > e.AffinitySeconds || !e.Table.Holds(a.Backend, a.Slot) {
		return Seat{}, false
	}
	return a.Seat, true
}
