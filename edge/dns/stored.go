package dns

import (
	"encoding/binary"
	"errors"
)

// maxTTL is the longest an answer is remembered, in seconds. RFC 8767 4 allows a week; a day is enough.
const maxTTL = 86400

// errMessage says that a message of our own making cannot be read. It would be a fault of this package.
var errMessage = errors.New("a message does not hold what its counts say")

// ttlOffsets returns where the times to live of a message are, and the shortest of them. The message has no OPT.
func ttlOffsets(b []byte, offsets []uint16) ([]uint16, uint32, error) {
	if len(b) < headerLen || len(b) > maxMessage {
		return nil, 0, errMessage
	}
	at := headerLen
	for range int(binary.BigEndian.Uint16(b[4:])) {
		if at = skipName(b, at); at < 0 || at+4 > len(b) {
			return nil, 0, errMessage
		}
		at += 4
	}
	records := int(binary.BigEndian.Uint16(b[6:])) + int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	lowest := uint32(maxTTL)
	for range records {
		if at = skipName(b, at); at < 0 || at+10 > len(b) {
			return nil, 0, errMessage
		}
		offsets = append(offsets, uint16(at+4))
		ttl := binary.BigEndian.Uint32(b[at+4:])
		if ttl > 1<<31-1 { // RFC 2181 8: as zero
			ttl = 0
		}
		lowest = min(lowest, ttl)
		at += 10 + int(binary.BigEndian.Uint16(b[at+8:]))
	}
	if at != len(b) {
		return nil, 0, errMessage
	}
	return offsets, lowest, nil
}

// age takes seconds off the times to live of a message.
func age(b []byte, offsets []byte, seconds uint32) {
	for ; len(offsets) >= 2; offsets = offsets[2:] {
		at := binary.BigEndian.Uint16(offsets)
		ttl := min(binary.BigEndian.Uint32(b[at:]), maxTTL)
		binary.BigEndian.PutUint32(b[at:], ttl-min(ttl, seconds))
	}
}

// reply makes of a message, which is in out already and has the same question but for case, the answer to a client: its number, its
// flags, its question, its OPT, its size. in is the client's message; udp says that the answer must fit a datagram. extra is an
// extended error (RFC 8914) or noExtra.
func (q *query) reply(out, in []byte, udp bool, extra uint16) []byte {
	flags := binary.BigEndian.Uint16(out[2:])
	flags = flags&^(bitsOp|bitAA|bitTC|bitRD|bitCD) | bitQR | bitRA | q.flags&(bitRD|bitCD)
	if !q.do && q.flags&bitAD == 0 { // RFC 6840 5.8
		flags &^= bitAD
	}
	binary.BigEndian.PutUint16(out, q.id)
	binary.BigEndian.PutUint16(out[2:], flags)
	copy(out[headerLen:], in[headerLen:headerLen+q.question]) // its case is the client's (draft-vixie-dnsext-dns0x20)
	if udp && len(out)+q.optLen(extra) > q.size {
		// RFC 2181 9: half a set is no set, so nothing is left but the word to come by TCP.
		out = out[:headerLen+q.question]
		binary.BigEndian.PutUint16(out[2:], flags|bitTC)
		clear(out[6:headerLen])
	}
	return q.appendOPT(out, 0, extra)
}

// fail appends an answer that has nothing but an error.
func (q *query) fail(out, in []byte, rcode int, extra uint16) []byte {
	out = append(out, in[:headerLen+q.question]...)
	flags := bitQR | bitRA | q.flags&(bitsOp|bitRD|bitCD) | uint16(rcode)&rcodeBits
	binary.BigEndian.PutUint16(out[2:], flags)
	clear(out[6:headerLen])
	if q.question == 0 {
		out[4], out[5] = 0, 0
	}
	return q.appendOPT(out, rcode>>4, extra)
}

// noExtra is no extended error.
const noExtra = 0xffff

func (q *query) optLen(extra uint16) int {
	switch {
	case !q.edns:
		return 0
	case extra != noExtra:
		return 11 + 6
	}
	return 11
}

// appendOPT appends OPT if the client sent one (RFC 6891 6.1.1), with the upper bits of the code.
func (q *query) appendOPT(out []byte, upper int, extra uint16) []byte {
	if !q.edns {
		return out
	}
	var do byte
	if q.do {
		do = bitDO >> 8
	}
	out = append(out, 0, 0, typeOPT, ednsUDP>>8, ednsUDP&0xff, byte(upper), 0, do, 0, 0, 0)
	if extra != noExtra { // RFC 8914 2
		out[len(out)-1] = 6
		out = append(out, 0, 15, 0, 2, byte(extra>>8), byte(extra))
	}
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	return out
}
