package dns

import "encoding/binary"

// Lengths and bits of a message (RFC 1035 4.1.1, RFC 6891 6.1.3, RFC 4035 3.2).
const (
	headerLen  = 12
	maxMessage = 65535
	maxKey     = 1 + 255 + 2 // flags, name, type

	bitQR     = 1 << 15
	bitsOp    = 0xf << 11
	bitAA     = 1 << 10
	bitTC     = 1 << 9
	bitRD     = 1 << 8
	bitRA     = 1 << 7
	bitAD     = 1 << 5
	bitCD     = 1 << 4
	bitDO     = 1 << 15 // of the TTL field of OPT, its lower half
	rcodeBits = 0xf

	typeOPT     = 41
	classIN     = 1
	opcodeQuery = 0

	formErr = 1
	notImp  = 4
	refused = 5
	badVers = 16 // RFC 6891 6.1.3; the upper bits go into OPT
)

// Sizes of UDP answers.
const (
	plainUDP = 512  // without EDNS (RFC 1035 2.3.4)
	ednsUDP  = 1232 // what fits any path of IPv6: larger ones go by TCP (RFC 9715 3.1)
)

// query is what is read of a client's message without unpacking it.
type query struct {
	id, flags    uint16
	qtype        uint16
	qclass       uint16
	question     int // length of the question section
	edns, do     bool
	size         int // of the largest answer the client takes by UDP
	key          [maxKey]byte
	keyLen       int
	nameInKey    int // bytes of the name
	versionWrong bool
}

func (q *query) cd() bool { return q.flags&bitCD != 0 }

// name returns the lower-case name as it is on the wire.
func (q *query) name() []byte { return q.key[1 : 1+q.nameInKey] }

// Verdicts on a message.
const (
	answerIt = -1
	dropIt   = -2
)

// read reads a client's message. It returns answerIt, dropIt, or the code of the error to answer with.
func (q *query) read(b []byte) int {
	if len(b) < headerLen {
		return dropIt
	}
	q.id, q.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	q.question, q.edns, q.do, q.size, q.versionWrong = 0, false, false, plainUDP, false
	switch {
	case q.flags&bitQR != 0: // an answer: to answer it would be the begin of a loop
		return dropIt
	case q.flags&bitsOp != opcodeQuery:
		return notImp
	case binary.BigEndian.Uint16(b[4:]) != 1, binary.BigEndian.Uint16(b[6:]) != 0, binary.BigEndian.Uint16(b[8:]) != 0:
		return formErr // RFC 9619: a query has one question
	}
	at, ok := q.readName(b)
	if !ok || at+4 > len(b) {
		return formErr
	}
	q.qtype, q.qclass = binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	q.question = at + 4 - headerLen
	q.key[q.keyLen], q.key[q.keyLen+1] = b[at], b[at+1]
	q.keyLen += 2
	return q.readAdditional(b, at+4, int(binary.BigEndian.Uint16(b[10:])))
}

// readName copies the name in question into the key, in lower case. A question holds no compressed name: there is nothing before it.
func (q *query) readName(b []byte) (end int, ok bool) {
	at, out := headerLen, 1
	for {
		if at >= len(b) {
			return 0, false
		}
		n := int(b[at])
		if n > 63 || out+n+1 > 1+255 || at+1+n > len(b) {
			return 0, false
		}
		q.key[out] = byte(n)
		for i := 1; i <= n; i++ {
			c := b[at+i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			q.key[out+i] = c
		}
		at, out = at+1+n, out+1+n
		if n == 0 {
			q.nameInKey, q.keyLen = out-1, out
			return at, true
		}
	}
}

// readAdditional looks for OPT (RFC 6891 6.1.1). What else is there is not ours.
func (q *query) readAdditional(b []byte, at, count int) int {
	for range count {
		name := at
		at = skipName(b, at)
		if at < 0 || at+10 > len(b) {
			return formErr
		}
		typ, length := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+8:]))
		if at+10+length > len(b) {
			return formErr
		}
		if typ == typeOPT {
			if q.edns || b[name] != 0 {
				return formErr // RFC 6891 6.1.1: one, and its name is the root
			}
			q.edns = true
			q.size = max(plainUDP, min(int(binary.BigEndian.Uint16(b[at+2:])), ednsUDP))
			q.versionWrong = b[at+5] != 0
			q.do = binary.BigEndian.Uint16(b[at+6:])&bitDO != 0
		}
		at += 10 + length
	}
	if q.versionWrong {
		return badVers
	}
	return answerIt
}

// skipName returns where a name ends, compressed or not, or -1.
func skipName(b []byte, at int) int {
	for at < len(b) {
		n := int(b[at])
		switch {
		case n == 0:
			return at + 1
		case n >= 0xc0:
			if at+2 > len(b) {
				return -1
			}
			return at + 2
		case n > 63:
			return -1
		}
		at += 1 + n
	}
	return -1
}
