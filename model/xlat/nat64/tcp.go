package nat64

// State is where a TCP session stands (RFC 6146 3.5.2).
type State uint8

// The states of RFC 6146 3.5.2.1.
const (
	Closed      State = iota
	V4Init            // a SYN came from IPv4
	V6Init            // a SYN came from IPv6
	Established       // SYNs came from both
	V4Fin             // a FIN came from IPv4
	V6Fin             // a FIN came from IPv6
	V4V6Fin           // FINs came from both
	Trans             // a RST came, or nothing for long: it may still live
	states      = 8
)

func (s State) String() string {
	return [...]string{"closed", "v4-init", "v6-init", "established", "v4-fin-rcv", "v6-fin-rcv", "v4-fin-v6-fin-rcv", "trans"}[s]
}

// Event is what a packet means for its session. A packet with several flags counts as the first of RST, SYN, FIN.
type Event uint8

// The events of RFC 6146 3.5.2.2, by the side they come from.
const (
	SYN6 Event = iota
	SYN4
	FIN6
	FIN4
	RST6
	RST4
	Other6
	Other4
	Timeout
	events = 9
)

func (e Event) String() string {
	return [...]string{"V6 SYN", "V4 SYN", "V6 FIN", "V4 FIN", "V6 RST", "V4 RST", "V6 other", "V4 other", "timeout"}[e]
}

// timer says what becomes of a session's life.
type timer uint8

const (
	keep  timer = iota // what is left of it
	trans              // TCPTrans from now
	est                // TCPEst from now
	gone               // the session ends
	probe              // TCPTrans from now, and the endpoint is asked whether it lives
)

type transition struct {
	to    State
	timer timer
}

// next is the state machine of RFC 6146 3.5.2.2, one row for each state, one column for each event. What has no own rule there is translated
// and changes nothing. In Closed, only SYNs make a session; whether they may is asked before.
var next = [states][events]transition{
	Closed:      {SYN6: {V6Init, trans}, SYN4: {V4Init, trans}, FIN6: {Closed, keep}, FIN4: {Closed, keep}, RST6: {Closed, keep}, RST4: {Closed, keep}, Other6: {Closed, keep}, Other4: {Closed, keep}, Timeout: {Closed, keep}},
	V4Init:      {SYN6: {Established, est}, SYN4: {V4Init, keep}, FIN6: {V4Init, keep}, FIN4: {V4Init, keep}, RST6: {V4Init, keep}, RST4: {V4Init, keep}, Other6: {V4Init, keep}, Other4: {V4Init, keep}, Timeout: {Closed, gone}},
	V6Init:      {SYN6: {V6Init, trans}, SYN4: {Established, est}, FIN6: {V6Init, keep}, FIN4: {V6Init, keep}, RST6: {V6Init, keep}, RST4: {V6Init, keep}, Other6: {V6Init, keep}, Other4: {V6Init, keep}, Timeout: {Closed, gone}},
	Established: {SYN6: {Established, est}, SYN4: {Established, est}, FIN6: {V6Fin, keep}, FIN4: {V4Fin, keep}, RST6: {Trans, trans}, RST4: {Trans, trans}, Other6: {Established, est}, Other4: {Established, est}, Timeout: {Trans, probe}},
	V4Fin:       {SYN6: {V4Fin, est}, SYN4: {V4Fin, est}, FIN6: {V4V6Fin, trans}, FIN4: {V4Fin, est}, RST6: {V4Fin, est}, RST4: {V4Fin, est}, Other6: {V4Fin, est}, Other4: {V4Fin, est}, Timeout: {Closed, gone}},
	V6Fin:       {SYN6: {V6Fin, est}, SYN4: {V6Fin, est}, FIN6: {V6Fin, est}, FIN4: {V4V6Fin, trans}, RST6: {V6Fin, est}, RST4: {V6Fin, est}, Other6: {V6Fin, est}, Other4: {V6Fin, est}, Timeout: {Closed, gone}},
	V4V6Fin:     {SYN6: {V4V6Fin, keep}, SYN4: {V4V6Fin, keep}, FIN6: {V4V6Fin, keep}, FIN4: {V4V6Fin, keep}, RST6: {V4V6Fin, keep}, RST4: {V4V6Fin, keep}, Other6: {V4V6Fin, keep}, Other4: {V4V6Fin, keep}, Timeout: {Closed, gone}},
	Trans:       {SYN6: {Established, est}, SYN4: {Established, est}, FIN6: {Established, est}, FIN4: {Established, est}, RST6: {Trans, keep}, RST4: {Trans, keep}, Other6: {Established, est}, Other4: {Established, est}, Timeout: {Closed, gone}},
}

// eventOf reads the flags of a TCP header. v4 tells the side it came from.
func eventOf(header []byte, v4 bool) Event {
	e := Other6
	if len(header) > 13 {
		switch flags := header[13]; {
		case flags&0x04 != 0:
			e = RST6
		case flags&0x02 != 0:
			e = SYN6
		case flags&0x01 != 0:
			e = FIN6
		}
	}
	if v4 {
		e++ // each event of IPv4 stands behind that of IPv6
	}
	return e
}
